"""Answers and requests of the operations that exist, against the contract; differences are listed, not hidden."""

import pytest

from api.app import ROUTES
from api.schemas.authentication import Authenticate, PreAuth
from api.schemas.base import Request
from api.schemas.users import CreateUser, DeleteUser, ListUsers, LogOut, OneUser, ResolveUser, UpdateUser
from tests.contract.models import check_model
from tests.contract.schema import (
    CONTRACT,
    Mismatch,
    load_deviations,
    mismatches,
    parameters,
    request_schema,
    response_schema,
)
from tests.support.api import Api

_MODELS: dict[str, type[Request]] = {
    "POST /users": CreateUser,
    "PUT /users/{user}": UpdateUser,
    "GET /users": ListUsers,
    "GET /users/{user}": OneUser,
    "DELETE /users/{user}": DeleteUser,
    "PUT /users/{user}/logout": LogOut,
    "GET /users/resolve/{username}": ResolveUser,
    "POST /authenticate": Authenticate,
    "POST /preauth": PreAuth,
}


def test_every_route_is_in_the_contract() -> None:
    for route in ROUTES:
        if route.path.startswith("/duckmail/"):  # our own
            continue
        assert route.method.lower() in CONTRACT["paths"][route.path], (route.method, route.path)
        assert not isinstance(route.permission, str)


@pytest.mark.parametrize("operation", _MODELS, ids=str)
def test_requests_take_what_the_contract_names(operation: str) -> None:
    model = _MODELS[operation]
    ours = {info.alias or name: info.is_required() for name, info in model.model_fields.items()}
    method = operation.split(" ", maxsplit=1)[0]
    named = parameters(operation, "query") | parameters(operation, "path")
    required = parameters(operation, "path")
    if method in ("POST", "PUT"):
        body = request_schema(operation)
        named |= set(body["properties"])
        required |= set(body.get("required", ()))
    # Page numbers were dropped from listings, which ignore keys that they do not know.
    named -= {"page"}
    # What the reference server takes beside its contract.
    if operation in ("POST /users", "PUT /users/{user}"):
        named |= {"mtaRelay"}
    assert set(ours) == named
    assert {name for name, needed in ours.items() if needed} == required


async def test_answers_follow_the_contract(api: Api) -> None:
    found: set[tuple[str, Mismatch]] = set()

    async def check(operation: str, path: str, json: object = None, status: int = 200) -> dict[str, object]:
        reply = await api.call(operation.split(" ", maxsplit=1)[0], path, json)
        assert reply.status == status, reply.text
        check_model(operation, reply.json)
        for mismatch in mismatches(reply.json, response_schema(operation, status)):
            found.add((operation, mismatch))
        return reply.json

    made = await check(
        "POST /users", "/users", {"username": "anna", "password": "secretvalue", "targets": ["a@b.example"]}
    )
    path = f"/users/{made['id']}"
    await check("GET /users/resolve/{username}", "/users/resolve/anna")
    await check("GET /users/{user}", path)
    await check("GET /users", "/users")
    await check("GET /users", "/users?query=anna&metaData=1&internalData=1")
    sign_in = {"username": "anna", "password": "secretvalue", "token": True}
    await check("POST /authenticate", "/authenticate", sign_in)
    await check("POST /preauth", "/preauth", {"username": "anna"})
    await check("DELETE /authenticate", "/authenticate")
    await check("PUT /users/{user}", path, {"name": "Anna", "retention": 1000})
    await check("GET /users/{user}", path)
    await check("DELETE /users/{user}", path)
    await check("GET /health", "/health")

    driven = set(_MODELS) | {"DELETE /authenticate", "GET /health"}
    expected = {row for row in load_deviations() if row[0] in driven}
    # Saying more than the contract is allowed, where the reference server does.
    extra = {(operation, mismatch.at) for operation, mismatch in found if mismatch.found == "extra"}
    assert extra == {
        ("GET /users/{user}", "language"),
        ("GET /users/{user}", "featureFlags"),
        ("GET /users/{user}", "limits.pop3MaxMessages"),
    }
    plain = {
        (operation, Mismatch(_starred(mismatch.at, operation), mismatch.found))
        for operation, mismatch in found
        if mismatch.found != "extra"
    }
    assert plain == expected


def _starred(at: str, operation: str) -> str:
    """The counters of `limits` are one line in the list of deviations."""
    steps = at.split(".")
    if operation == "GET /users/{user}" and steps[0] == "limits" and len(steps) == 3:
        steps[1] = "*"
    return ".".join(steps)
