"""What each operation of the contract asks for, and what each role has, against the reference's table of roles."""

import pytest

from api.app import ROUTES
from api.errors import ApiError
from api.permissions import OPERATIONS, ROLES, Permission, Reach, permission_of, require
from tests.contract.schema import CONTRACT

_CONTRACT = {f"{method.upper()} {path}" for path, methods in CONTRACT["paths"].items() for method in methods}

# The reference's table, resource by resource, as far as a role has the whole of it.
_MAIL = {"messages", "attachments", "storage", "mailboxes"}
_ADMIN = {"certs", "dkim", "domainaliases", "userlisting", "addresslisting"}
_OURS = {"queue", "reports", "tasks", "trace"}  # which the reference lacks
_ACCOUNT = {"addresses", "authentication", "autoreplies", "filters", "users", "asps", "webhooks"}
_RESOURCES: dict[str, set[str]] = {
    "root": _MAIL | _ADMIN | _ACCOUNT | _OURS | {"domainaccess", "settings"},
    "manager": _ADMIN | _ACCOUNT | _OURS | {"domainaccess"},
    "webmail": _MAIL | _ACCOUNT | {"domainaccess"},
    "user": _MAIL | _ACCOUNT | {"trace"},
    "auth": {"authentication"},
    "tokenAuth": {"authentication"},
    "attachments": {"attachments"},
    "audit": {"users", "audit"},
    "auditclient": {"audit"},
    "export": {"export", "import"},
    "settings": {"settings"},
    "downloader": {"messages"},
}


def test_every_operation_of_the_contract_has_its_row() -> None:
    assert set(OPERATIONS) == _CONTRACT
    assert {operation for operation, row in OPERATIONS.items() if row is None} == {
        "DELETE /authenticate",
        "GET /health",
    }


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_routes_ask_for_what_the_table_says(route: object) -> None:
    [found] = [each for each in ROUTES if each is route]
    assert found.permission == permission_of(found.method, found.path, found.permission)
    if found.path.startswith("/duckmail/"):
        assert found.permission is not None


@pytest.mark.parametrize("role", sorted(_RESOURCES))
def test_roles_reach_the_resources_of_the_reference(role: str) -> None:
    assert {resource for resource, _ in ROLES[role]} == _RESOURCES[role]
    reach = {Reach.OWN} if role == "user" else {Reach.ANY}
    assert set(ROLES[role].values()) == reach


def test_there_are_no_other_roles() -> None:
    assert set(ROLES) == set(_RESOURCES)


# (role, operation, whether it may)
_CASES = [
    ("root", "POST /audit", False),
    ("root", "POST /data/export", False),
    ("root", "POST /data/import", False),
    ("root", "POST /settings/{key}", True),
    ("manager", "DELETE /users/{user}", True),
    ("manager", "GET /users/{user}/mailboxes", False),
    ("manager", "GET /settings", False),
    ("webmail", "GET /users", False),
    ("webmail", "DELETE /users/{user}", False),
    ("webmail", "POST /users", False),
    ("webmail", "POST /users/{user}/submit", True),
    ("user", "GET /users", False),
    ("user", "GET /addresses", False),
    ("user", "GET /addresses/resolve/{address}", False),
    ("user", "POST /addresses/forwarded", False),
    ("user", "POST /users/{user}/password/reset", False),
    ("user", "POST /authenticate", False),
    ("user", "POST /webhooks", False),
    ("user", "POST /domainaccess/{tag}/block", False),
    ("user", "POST /users/{user}/addresses", True),
    ("user", "POST /users/{user}/2fa/webauthn/authentication-assertion", True),
    ("auth", "POST /authenticate", True),
    ("auth", "GET /users/{user}/authlog", False),
    ("audit", "GET /users/{user}", True),
    ("audit", "PUT /users/{user}/logout", False),
    ("audit", "POST /users/{user}/2fa/totp/check", False),
    ("audit", "POST /audit", True),
    ("auditclient", "POST /audit", False),
    ("auditclient", "GET /audit/{audit}/export.mbox", True),
    ("export", "POST /data/import", True),
    ("downloader", "GET /users/{user}/search", True),
    ("downloader", "POST /users/{user}/search", False),
    (
        "downloader",
        "GET /users/{user}/mailboxes/{mailbox}/messages/{message}/attachments/{attachment}",
        False,
    ),
    (
        "attachments",
        "GET /users/{user}/mailboxes/{mailbox}/messages/{message}/attachments/{attachment}",
        True,
    ),
]


@pytest.mark.parametrize(("role", "operation", "may"), _CASES, ids=str)
def test_what_a_role_may(role: str, operation: str, may: bool) -> None:
    permission: Permission | None = OPERATIONS[operation]
    if may:
        require(role, permission)
        return
    with pytest.raises(ApiError) as caught:
        require(role, permission)
    assert (caught.value.status, caught.value.body["code"]) == (403, "MissingPrivileges")
