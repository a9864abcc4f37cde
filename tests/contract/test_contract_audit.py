"""The tag Audit against the contract: requests, answers, and each failure it documents."""

from api.schemas.audit import CreateAudit, OneAudit
from tests.contract.driving import Drive
from tests.contract.schema import parameters, request_schema
from tests.support.house import House
from tests.support.posted import NOBODY


def test_requests_take_what_the_contract_names() -> None:
    body = request_schema("POST /audit")
    ours = {info.alias or name: info.is_required() for name, info in CreateAudit.model_fields.items()}
    assert set(ours) == set(body["properties"])
    assert {name for name, needed in ours.items() if needed} == set(body["required"])
    assert set(OneAudit.model_fields) == parameters("GET /audit/{audit}", "path")


async def test_answers_follow_the_contract(house: House) -> None:
    drive = Drive(house)
    token = await house.services.tokens.issue("audit")
    user = await house.make_user()
    body = {"user": user, "expires": "2099-01-01T00:00:00Z"}
    create, read = "POST /audit", "GET /audit/{audit}"
    bounded = {**body, "start": "2020-01-01T00:00:00Z", "end": False, "sess": "s", "ip": "192.0.2.1"}
    audit = (await drive(create, "/audit", bounded, token=token)).json["id"]
    await drive(create, "/audit", {**body, "user": NOBODY}, token=token)  # the account need not exist
    found = (await drive(read, f"/audit/{audit}", token=token)).json
    assert (found["start"], found["end"]) == ("2020-01-01T00:00:00.000Z", False)
    await drive(create, "/audit", body, status=403, code="MissingPrivileges")
    await drive(read, f"/audit/{audit}", status=403, code="MissingPrivileges")
    await drive(read, f"/audit/{NOBODY}", token=token, status=404, code="AuditNotFoundError")
    await drive(read, "/audit/x", token=token, status=400, code="InputValidationError")
    late = {**body, "expires": "2020-01-01T00:00:00Z"}
    refused = await drive(create, "/audit", late, token=token, status=400, code="InputValidationError")
    assert refused.json["details"] == {"expires": '"expires" must be greater than "now"'}
    drive.finish()
