"""Answers and requests of the tag DKIM, against the contract, and each documented failure."""

from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from api.schemas import dkim
from api.schemas.base import Request
from tests.contract.schema import load_deviations, mismatches, parameters, request_schema, response_schema
from tests.support.api import Api

_MODELS: dict[str, type[Request]] = {
    "GET /dkim": dkim.ListKeys,
    "POST /dkim": dkim.PutKey,
    "GET /dkim/resolve/{domain}": dkim.ResolveDomain,
    "GET /dkim/{dkim}": dkim.OneKey,
    "DELETE /dkim/{dkim}": dkim.OneKey,
}
# Of our own; and the contract's prose has a description that its schema lost.
_MORE = {"POST /dkim": {"algorithm", "overlap", "description"}}


@pytest.mark.parametrize("operation", _MODELS, ids=str)
def test_requests_take_what_the_contract_names(operation: str) -> None:
    ours = {info.alias or name: info.is_required() for name, info in _MODELS[operation].model_fields.items()}
    named = parameters(operation, "query") | parameters(operation, "path") | _MORE.get(operation, set())
    required = parameters(operation, "path")
    if operation.startswith("POST"):
        body = request_schema(operation)
        named |= set(body["properties"])
        required |= set(body.get("required", ()))
    assert set(ours) == named - {"page"}
    assert {name for name, needed in ours.items() if needed} == required


async def test_answers_follow_the_contract(api: Api) -> None:
    raw = b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode()
    made = await api.call(
        "POST", "/dkim", {"domain": "Example.com", "selector": "S1", "privateKey": raw, "description": "first"}
    )
    identifier = made.json["id"]
    answers = {
        "POST /dkim": made,
        "GET /dkim": await api.call("GET", "/dkim?query=exam"),
        "GET /dkim/resolve/{domain}": await api.call("GET", "/dkim/resolve/EXAMPLE.com"),
        "GET /dkim/{dkim}": await api.call("GET", f"/dkim/{identifier}"),
        "DELETE /dkim/{dkim}": await api.call("DELETE", f"/dkim/{identifier}"),
    }
    assert answers.keys() == _MODELS.keys()
    found = set()
    for operation, reply in answers.items():
        assert reply.status == 200, reply.text
        found |= {(operation, each) for each in mismatches(reply.json, response_schema(operation))}
    assert {row for row in found if row[1].found != "extra"} == load_deviations(set(_MODELS))
    # `description` is required by the contract's answers, and described nowhere in them; `keys` is our own.
    assert {(operation, each.at) for operation, each in found if each.found == "extra"} <= {
        ("POST /dkim", "description"),
        ("GET /dkim", "results[].description"),
        ("GET /dkim/{dkim}", "description"),
        ("GET /dkim/{dkim}", "keys"),
    }
    read = answers["GET /dkim/{dkim}"].json
    assert (read["domain"], read["selector"], read["description"]) == ("example.com", "s1", "first")
    assert read["dnsTxt"] == made.json["dnsTxt"]
    assert read["dnsTxt"]["name"] == "s1._domainkey.example.com"
    assert read["dnsTxt"]["value"].startswith("v=DKIM1;t=s;k=ed25519;p=")
    assert read["publicKey"].startswith("-----BEGIN PUBLIC KEY-----")
    for reply in answers.values():
        assert raw not in reply.text
        assert "PRIVATE" not in reply.text


async def test_a_new_key_takes_the_place_of_the_old_one(api: Api) -> None:
    first = (await api.call("POST", "/dkim", {"domain": "example.com", "selector": "a"})).json
    second = (await api.call("POST", "/dkim", {"domain": "example.com", "selector": "b"})).json
    assert first["id"] == second["id"]
    assert first["fingerprint"] != second["fingerprint"]
    keys = (await api.call("GET", f"/dkim/{first['id']}")).json["keys"]
    assert [(key["selector"], key["algorithm"], key["signs"]) for key in keys] == [("b", "rsa", True)]


async def test_keys_beside_each_other(api: Api) -> None:
    new = {"domain": "example.com", "selector": "a"}
    identifier = (await api.call("POST", "/dkim", new)).json["id"]
    await api.call("POST", "/dkim", {**new, "selector": "b", "algorithm": "ed25519", "overlap": 0})
    await api.call("POST", "/dkim", {**new, "selector": "c", "overlap": 86400})
    keys = (await api.call("GET", f"/dkim/{identifier}")).json["keys"]
    assert [(key["selector"], key["algorithm"], key["signs"]) for key in keys] == [
        ("c", "rsa", False),
        ("b", "ed25519", True),
        ("a", "rsa", True),
    ]
    again = await api.call("POST", "/dkim", {**new, "overlap": 0})
    assert (again.status, again.json["code"]) == (400, "InputValidationError")


async def test_pages(api: Api) -> None:
    for domain in ("b.example", "a.example", "*", "c.test"):
        assert (
            await api.call("POST", "/dkim", {"domain": domain, "selector": "s", "algorithm": "ed25519"})
        ).status == 200
    page = (await api.call("GET", "/dkim?query=.&limit=2")).json
    assert ([one["domain"] for one in page["results"]], page["total"]) == (["a.example", "b.example"], 3)
    rest = (await api.call("GET", f"/dkim?query=.&limit=2&next={page['nextCursor']}")).json
    assert [one["domain"] for one in rest["results"]] == ["c.test"]
    assert (await api.call("GET", "/dkim/resolve/*")).status == 200


@pytest.mark.parametrize(
    ("method", "path", "json", "status", "code"),
    [
        pytest.param("GET", "/dkim/" + "0" * 24, None, 404, "DkimNotFound", id="get-unknown"),
        pytest.param("DELETE", "/dkim/" + "0" * 24, None, 404, "DkimNotFound", id="delete-unknown"),
        pytest.param("GET", "/dkim/resolve/none.example", None, 404, "DkimNotFound", id="resolve-unknown"),
        pytest.param("GET", "/dkim/x", None, 400, "InputValidationError", id="no-id"),
        pytest.param("POST", "/dkim", {}, 400, "InputValidationError", id="nothing-given"),
        pytest.param(
            "POST", "/dkim", {"domain": "a.example", "selector": "a b"}, 400, "InputValidationError", id="selector"
        ),
        pytest.param(
            "POST",
            "/dkim",
            {"domain": "a.example", "selector": "a", "privateKey": "secret"},
            400,
            "InputValidationError",
            id="unusable-key",
        ),
        pytest.param("GET", "/dkim?limit=0", None, 400, "InputValidationError", id="page-size"),
    ],
)
async def test_failures(api: Api, method: str, path: str, json: object, status: int, code: str) -> None:
    reply = await api.call(method, path, json)
    assert (reply.status, reply.json["code"]) == (status, code)
    assert '"secret"' not in reply.text


async def test_an_account_has_no_business_here(api: Api) -> None:
    await api.make_user("anna")
    login = {"username": "anna", "password": "secretvalue", "token": True}
    token = (await api.call("POST", "/authenticate", login)).json["token"]
    for method, path in (("GET", "/dkim"), ("GET", "/dkim/resolve/a.example"), ("DELETE", "/dkim/" + "0" * 24)):
        reply = await api.call(method, path, token=token)
        assert (reply.status, reply.json["code"]) == (403, "MissingPrivileges")


async def test_keys_move_with_their_domain(api: Api) -> None:
    await api.make_user("anna", address="anna@old.example")
    made = (await api.call("POST", "/dkim", {"domain": "old.example", "selector": "s", "algorithm": "ed25519"})).json
    renamed = await api.call("PUT", "/addresses/renameDomain", {"oldDomain": "old.example", "newDomain": "new.example"})
    assert renamed.json["modifiedDkim"] == 1, renamed.text
    found = (await api.call("GET", f"/dkim/{made['id']}")).json
    assert (found["domain"], found["fingerprint"]) == ("new.example", made["fingerprint"])
    await api.call("POST", "/dkim", {"domain": "third.example", "selector": "s", "algorithm": "ed25519"})
    again = await api.call("PUT", "/addresses/renameDomain", {"oldDomain": "new.example", "newDomain": "third.example"})
    assert (again.status, again.json["modifiedDkim"]) == (200, 0)
