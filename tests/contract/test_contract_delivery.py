"""Answers and requests of what decides about incoming mail, against the contract."""

import pytest

from api.schemas import addresses, autoreplies, domainaccess, domainaliases, filters
from api.schemas.base import Request
from tests.contract.models import check_model
from tests.contract.schema import Mismatch, load_deviations, mismatches, parameters, request_schema, response_schema
from tests.support.api import Api

_MODELS: dict[str, type[Request]] = {
    "GET /addresses": addresses.ListAddresses,
    "POST /addresses/forwarded": addresses.CreateForwarded,
    "PUT /addresses/forwarded/{id}": addresses.UpdateForwarded,
    "GET /addresses/forwarded/{address}": addresses.OneForwarded,
    "DELETE /addresses/forwarded/{address}": addresses.OneForwarded,
    "GET /addresses/resolve/{address}": addresses.ResolveAddress,
    "PUT /addresses/renameDomain": addresses.RenameDomain,
    "POST /users/{user}/addresses": addresses.CreateAddress,
    "GET /users/{user}/addresses": addresses.UserAddresses,
    "GET /users/{user}/addresses/{address}": addresses.OneAddress,
    "PUT /users/{user}/addresses/{id}": addresses.UpdateAddress,
    "DELETE /users/{user}/addresses/{address}": addresses.OneAddress,
    "GET /users/{user}/addressregister": addresses.AddressRegister,
    "GET /domainaliases": domainaliases.ListAliases,
    "POST /domainaliases": domainaliases.CreateAlias,
    "GET /domainaliases/resolve/{alias}": domainaliases.ResolveAlias,
    "GET /domainaliases/{alias}": domainaliases.OneAlias,
    "DELETE /domainaliases/{alias}": domainaliases.OneAlias,
    "GET /filters": filters.ListFilters,
    "GET /users/{user}/filters": filters.UserFilters,
    "POST /users/{user}/filters": filters.CreateFilter,
    "GET /users/{user}/filters/{filter}": filters.OneFilter,
    "PUT /users/{user}/filters/{filter}": filters.UpdateFilter,
    "DELETE /users/{user}/filters/{filter}": filters.OneFilter,
    "PUT /users/{user}/autoreply": autoreplies.UpdateAutoreply,
    "GET /users/{user}/autoreply": autoreplies.OneAutoreply,
    "DELETE /users/{user}/autoreply": autoreplies.OneAutoreply,
    "POST /domainaccess/{tag}/allow": domainaccess.PutDomain,
    "GET /domainaccess/{tag}/allow": domainaccess.ListDomains,
    "POST /domainaccess/{tag}/block": domainaccess.PutDomain,
    "GET /domainaccess/{tag}/block": domainaccess.ListDomains,
    "DELETE /domainaccess/{domain}": domainaccess.OneDomain,
}
# The contract forgets that a request without it makes no sense.
_REQUIRED = {"POST /users/{user}/addresses": {"address"}}


@pytest.mark.parametrize("operation", _MODELS, ids=str)
def test_requests_take_what_the_contract_names(operation: str) -> None:
    model = _MODELS[operation]
    ours = {info.alias or name: info.is_required() for name, info in model.model_fields.items()}
    named = parameters(operation, "query") | parameters(operation, "path")
    required = parameters(operation, "path") | ({"query"} if operation.endswith("addressregister") else set())
    if operation.split(" ", maxsplit=1)[0] in ("POST", "PUT"):
        body = request_schema(operation)
        named |= set(body["properties"])
        required |= set(body.get("required", ()))
    # Listings ignore keys that they do not know, and page numbers among them.
    assert set(ours) == named - {"page"}
    assert {name for name, needed in ours.items() if needed} == required | _REQUIRED.get(operation, set())


class Checks:
    """Calls operations, and notes where their answers differ from the contract."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.operations: set[str] = set()
        self.found: set[tuple[str, Mismatch]] = set()

    async def __call__(self, operation: str, json: object = None, query: str = "", **path: str) -> dict[str, object]:
        method, pattern = operation.split(" ")
        reply = await self.api.call(method, pattern.format(**path) + query, json)
        assert reply.status == 200, reply.text
        self.operations.add(operation)
        check_model(operation, reply.json)
        for mismatch in mismatches(reply.json, response_schema(operation)):
            self.found.add((operation, mismatch))
        return reply.json


async def test_answers_follow_the_contract(api: Api) -> None:
    check = Checks(api)
    user = await api.make_user(address="anna@example.com")
    await _addresses(check, user)
    await _domain_aliases(check)
    await _filters(check, user)
    await _autoreply(check, user)
    await _domain_access(check)
    assert check.operations == set(_MODELS)
    assert {(operation, each) for operation, each in check.found if each.found != "extra"} == load_deviations(
        check.operations
    )
    # Saying more than the contract is allowed, where the reference server does.
    assert {(operation, each.at) for operation, each in check.found if each.found == "extra"} == {
        ("GET /addresses/resolve/{address}", "user"),
        ("GET /addresses/resolve/{address}", "autoreply.start"),
        ("GET /addresses/forwarded/{address}", "autoreply.start"),
        ("GET /domainaliases", "query"),
        ("POST /users/{user}/filters", "id"),
    }


async def _addresses(check: Checks, user: str) -> None:
    new = {"address": "second@example.com", "name": "Anna", "tags": ["b", "a"], "metaData": {"a": 1}}
    made = str((await check("POST /users/{user}/addresses", new, user=user))["id"])
    await check("GET /users/{user}/addresses", query="?metaData=1&internalData=1", user=user)
    await check("GET /users/{user}/addresses/{address}", user=user, address=made)
    await check("PUT /users/{user}/addresses/{id}", {"main": True, "name": "A"}, user=user, id=made)
    forwarded = {
        "address": "team@example.com",
        "targets": ["a@b.example", "https://hook.example/"],
        "autoreply": {"text": "Thanks", "start": "2020-01-01T00:00:00.000Z", "end": False},
    }
    team = str((await check("POST /addresses/forwarded", forwarded))["id"])
    await check("PUT /addresses/forwarded/{id}", {"name": "Team", "forwards": 5}, id=team)
    await check("GET /addresses/forwarded/{address}", address=team)
    await check("GET /addresses")
    await check("GET /addresses", query="?query=example&metaData=1&internalData=1&limit=1&page=1")
    await check("GET /addresses/resolve/{address}", address="anna@example.com")
    await check("GET /addresses/resolve/{address}", address=team)
    await check("PUT /addresses/renameDomain", {"oldDomain": "example.com", "newDomain": "example.net"})
    await check.api.services.address_register._register.note({(user, "w@away.example"): ("w@away.example", "Wanda")})
    await check("GET /users/{user}/addressregister", query="?query=wan", user=user)
    await check("DELETE /addresses/forwarded/{address}", address=team)
    first = (await check("GET /users/{user}/addresses", user=user))["results"]
    assert isinstance(first, list)
    (other,) = [each["id"] for each in first if not each["main"]]
    await check("DELETE /users/{user}/addresses/{address}", user=user, address=other)


async def _domain_aliases(check: Checks) -> None:
    alias = str((await check("POST /domainaliases", {"alias": "Alias.Example", "domain": "example.com"}))["id"])
    await check("GET /domainaliases")
    await check("GET /domainaliases", query="?query=ali&limit=1")
    await check("GET /domainaliases/resolve/{alias}", alias="alias.example")
    await check("GET /domainaliases/{alias}", alias=alias)
    await check("DELETE /domainaliases/{alias}", alias=alias)


async def _filters(check: Checks, user: str) -> None:
    new = {
        "name": "Sorts",
        "query": {"from": "a", "to": "b", "subject": "c", "listId": "d", "text": "e", "ha": True, "size": -10},
        "action": {"seen": True, "flag": False, "delete": False, "spam": False, "targets": ["a@b.example"]},
        "metaData": {"a": 1},
    }
    made = str((await check("POST /users/{user}/filters", new, user=user))["id"])
    await check("GET /users/{user}/filters", query="?metaData=1", user=user)
    await check("GET /filters", query="?forward=b.example&metaData=1")
    await check("GET /users/{user}/filters/{filter}", user=user, filter=made)
    await check("PUT /users/{user}/filters/{filter}", {"query": {"from": ""}}, user=user, filter=made)
    await check("DELETE /users/{user}/filters/{filter}", user=user, filter=made)


async def _autoreply(check: Checks, user: str) -> None:
    new = {"status": True, "text": "Away", "start": "2020-01-01T00:00:00.000Z", "end": False}
    await check("GET /users/{user}/autoreply", user=user)
    await check("PUT /users/{user}/autoreply", new, user=user)
    await check("GET /users/{user}/autoreply", user=user)
    await check("DELETE /users/{user}/autoreply", user=user)


async def _domain_access(check: Checks) -> None:
    for action in ("allow", "block"):
        made = await check(f"POST /domainaccess/{{tag}}/{action}", {"domain": f"{action}.example"}, tag="Staff")
        await check(f"GET /domainaccess/{{tag}}/{action}", tag="staff")
    await check("DELETE /domainaccess/{domain}", domain=str(made["id"]))
