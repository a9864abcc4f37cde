"""The tag Export against the contract: requests, and the answer, which is nested as the reference server sends it."""

from api.schemas.export import CreateExport
from tests.contract.driving import Drive
from tests.contract.schema import request_schema
from tests.support.house import House


def test_requests_take_what_the_contract_names() -> None:
    ours = {info.alias or name for name, info in CreateExport.model_fields.items()}
    assert ours == set(request_schema("POST /data/export")["properties"])


async def test_failures_are_as_the_contract_knows_them(house: House) -> None:
    drive = Drive(house)
    token = await house.services.tokens.issue("export")
    for operation in ("POST /data/export", "POST /data/import"):
        path = operation.partition(" ")[2]
        await drive(operation, path, {}, status=403, code="MissingPrivileges")
        await drive(operation, path, {"unknown": 1}, token=token, status=400, code="InputValidationError")
    await drive("POST /data/export", "/data/export", {"users": [1]}, token=token, status=400)
    await drive("POST /data/import", "/data/import", token=token, status=500, code="INVALID_DATA")
    drive.finish()
