"""Every operation of the contract as a request that names the things of one account, for the matrix of who may what.

`Things` are ids by the names of the contract's path parameters; what a body or a query names are things as well.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.contract.schema import CONTRACT

Things = Mapping[str, str]
Json = dict[str, object]

_PARAMETER = re.compile(r"\{([A-Za-z]+)\}")
_ABSENT = "0" * 24

OPERATIONS: tuple[str, ...] = tuple(
    f"{method.upper()} {path}" for path, methods in CONTRACT["paths"].items() for method in methods
)
_HEX = "ab" * 32
_ASSERTION = {"challenge": _HEX, "rawId": _HEX, "clientDataJSON": _HEX}
_REFERENCE: Callable[[Things], Json] = lambda of: {  # noqa: E731
    "mailbox": of["mailbox"],
    "id": int(of["message"]),
    "action": "forward",
    "attachments": True,
}
_FILTER: Callable[[Things], Json] = lambda of: {  # noqa: E731
    "name": "f",
    "query": {"subject": "x"},
    "action": {"mailbox": of["mailbox"]},
}

# Bodies that are valid, since what is wrong with a body is told before it is asked who may.
BODIES: Mapping[str, Callable[[Things], Json]] = {
    "POST /users": lambda of: {"username": "carla", "password": "secretvalue"},
    "PUT /users/{user}": lambda of: {"name": "Mallory", "quota": 5, "suspended": True, "password": "changedvalue"},
    "PUT /users/{user}/logout": lambda of: {"reason": "out"},
    "POST /data/export": lambda of: {"users": [of["user"]]},
    "POST /users/{user}/addresses": lambda of: {"address": "mallory@example.com", "main": True},
    "PUT /users/{user}/addresses/{id}": lambda of: {"name": "Mallory"},
    "POST /addresses/forwarded": lambda of: {"address": "team@example.com", "targets": ["m@mallory.example"]},
    "PUT /addresses/forwarded/{id}": lambda of: {"name": "Mallory"},
    "PUT /addresses/renameDomain": lambda of: {"oldDomain": "example.com", "newDomain": "mallory.example"},
    "POST /users/{user}/mailboxes": lambda of: {"path": "Mallory"},
    "PUT /users/{user}/mailboxes/{mailbox}": lambda of: {"path": "Renamed"},
    "PUT /users/{user}/mailboxes/{mailbox}/messages": lambda of: {"message": "1:*", "moveTo": of["target"]},
    "POST /users/{user}/mailboxes/{mailbox}/messages": lambda of: {
        "subject": "x",
        "text": "y",
        "files": [of["file"]],
        "reference": _REFERENCE(of),
    },
    "POST /users/{user}/search": lambda of: {
        "mailbox": of["mailbox"],
        "id": of["found"],
        "action": {"moveTo": of["target"], "seen": True},
    },
    "PUT /users/{user}/mailboxes/{mailbox}/messages/{message}": lambda of: {"moveTo": of["target"], "flagged": True},
    "POST /users/{user}/mailboxes/{mailbox}/messages/{message}/forward": lambda of: {
        "addresses": ["m@mallory.example"]
    },
    "POST /users/{user}/archived/restore": lambda of: {"start": 0, "end": 4102444800000},
    "POST /users/{user}/archived/messages/{message}/restore": lambda of: {"mailbox": of["mailbox"]},
    "POST /users/{user}/storage": lambda of: {"filename": "m.txt", "contentType": "text/plain", "content": "mallory"},
    "POST /users/{user}/filters": _FILTER,
    "PUT /users/{user}/filters/{filter}": _FILTER,
    "POST /domainaccess/{tag}/allow": lambda of: {"domain": "mallory.example"},
    "POST /domainaccess/{tag}/block": lambda of: {"domain": "mallory.example"},
    "POST /users/{user}/asps": lambda of: {"description": "m", "scopes": ["*"], "address": of["mail"]},
    "POST /users/{user}/2fa/totp/setup": lambda of: {"issuer": "m"},
    "POST /users/{user}/2fa/totp/enable": lambda of: {"token": "000000"},
    "POST /users/{user}/2fa/totp/check": lambda of: {"token": "000000"},
    "POST /users/{user}/2fa/webauthn/registration-challenge": lambda of: {
        "origin": "https://example.com",
        "description": "m",
    },
    "POST /users/{user}/2fa/webauthn/registration-attestation": lambda of: {**_ASSERTION, "attestationObject": _HEX},
    "POST /users/{user}/2fa/webauthn/authentication-challenge": lambda of: {"origin": "https://example.com"},
    "POST /users/{user}/2fa/webauthn/authentication-assertion": lambda of: {
        **_ASSERTION,
        "rawId": of["credential_raw"],
        "authenticatorData": _HEX,
        "signature": _HEX,
        "token": True,
    },
    "POST /preauth": lambda of: {"username": of["username"]},
    "POST /authenticate": lambda of: {"username": of["username"], "password": "secretvalue", "token": True},
    "PUT /users/{user}/autoreply": lambda of: {"status": True, "text": "mallory"},
    "POST /users/{user}/submit": lambda of: {
        "to": [{"address": "m@mallory.example"}],
        "from": {"address": of["mail"]},
        "text": "y",
        "reference": {name: value for name, value in _REFERENCE(of).items() if name != "attachments"},
        "mailbox": of["mailbox"],
        "uploadOnly": True,
    },
    "POST /audit": lambda of: {"user": of["user"], "expires": "2031-01-01T00:00:00.000Z"},
    "POST /domainaliases": lambda of: {"alias": "alias.example", "domain": "example.com"},
    "POST /dkim": lambda of: {"domain": "example.net", "selector": "mallory"},
    "POST /certs": lambda of: {"servername": "mail.mallory.example", "acme": True},
    "POST /webhooks": lambda of: {"type": ["*"], "user": of["user"], "url": "https://mallory.example/"},
    "POST /settings/{key}": lambda of: {"value": 100},
}
QUERIES: Mapping[str, Callable[[Things], tuple[str, ...]]] = {
    "GET /users": lambda of: (f"?query={of['username']}",),
    "GET /addresses": lambda of: (f"?query={of['username']}",),
    "GET /users/{user}/addressregister": lambda of: ("?query=zebra",),
    "GET /users/{user}/search": lambda of: (
        f"?mailbox={of['mailbox']}",
        f"?mailbox={of['mailbox']}&id=1:*",
        f"?thread={of['thread']}",
        f"?q=in:{of['mailbox']}",
        "?query=zebra&or.subject=zebra",
    ),
    "GET /webhooks": lambda of: (f"?user={of['user']}", ""),
}
# What a parameter is called by in operations that take something else by the same name.
_NAMED: Mapping[str, Mapping[str, str]] = {
    "GET /domainaliases/resolve/{alias}": {"alias": "name"},
    "GET /dkim/resolve/{domain}": {"domain": "name"},
    "PUT /addresses/forwarded/{id}": {"id": "forwarded"},
    "GET /addresses/forwarded/{address}": {"address": "forwarded"},
    "DELETE /addresses/forwarded/{address}": {"address": "forwarded"},
    "PUT /users/{user}/mailboxes/{mailbox}": {"mailbox": "target"},
    "DELETE /users/{user}/mailboxes/{mailbox}": {"mailbox": "target"},
    "DELETE /users/{user}/mailboxes/{mailbox}/messages/{message}": {"message": "last"},
    "POST /users/{user}/archived/messages/{message}/restore": {"message": "archived"},
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """`method`, `path` with its query, body."""

    method: str
    path: str
    body: Json | None


def attempts(operation: str, path: Things, named: Things) -> list[Attempt]:
    """The operation on the things of `path`, with body and query naming those of `named`."""
    method, pattern = operation.split(" ")
    filled = _PARAMETER.sub(lambda found: path.get(found[1], _ABSENT), pattern)
    body = BODIES[operation](named) if operation in BODIES else {} if method in ("POST", "PUT") else None
    queries = QUERIES[operation](named) if operation in QUERIES else ("",)
    return [Attempt(method, filled + query, body) for query in queries]


def called(operation: str, things: Things) -> Things:
    """The things by the names that this operation's path has for them."""
    return {**things, **{name: things.get(thing, "") for name, thing in _NAMED.get(operation, {}).items()}}


def parameters(operation: str) -> set[str]:
    return set(_PARAMETER.findall(operation))


def names_things(operation: str) -> bool:
    """Its body or query names things of an account."""
    return operation in BODIES or operation in QUERIES


def takes_cursor(operation: str) -> bool:
    method, path = operation.split(" ")
    return any(row["name"] == "next" for row in CONTRACT["paths"][path][method.lower()].get("parameters", ()))
