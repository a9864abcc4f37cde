"""Two accounts, every operation that is routed, every role below manager: nothing of the one is read or changed by the
other. Operations that are routed later take part without a line here; a request that is not valid for one (it would
be refused before it is asked who may) fails the control at the end, and gets its row in `intruding`."""

import hashlib
import re

import bson
import orjson
from bson.objectid import ObjectId

from api.app import ROUTES
from api.permissions import OPERATIONS, ROLES
from duckmail.model.account import Principal
from duckmail.model.message import NewMessage
from duckmail.services.access import SYSTEM
from tests.contract.intruding import (
    OPERATIONS as CONTRACT_OPERATIONS,
)
from tests.contract.intruding import (
    Attempt,
    Things,
    attempts,
    called,
    names_things,
    parameters,
    takes_cursor,
)
from tests.support.api import Reply
from tests.support.authenticator import Authenticator
from tests.support.house import House
from tests.support.posted import PICTURE

MARK = "zebra"  # in everything that is the victim's
_ROUTED = {f"{route.method} {route.path}" for route in ROUTES}
_TRIED = tuple(each for each in CONTRACT_OPERATIONS if each in _ROUTED and OPERATIONS[each] is not None)
# Roles that act for programs; webmail acts for whoever signed in with it, so it may what it may with all.
_BELOW = ("webmail", "auth", "tokenAuth", "attachments", "audit", "auditclient", "export", "settings", "downloader")
_TELLING = 4  # characters of a value that is nobody else's
# What the server writes of itself meanwhile.
_RESTLESS = {"leases", "schema", "health", "tokens", "locks", "slots"}
# What an account as it is cannot do, and is told instead of being refused.
_ELSEWISE = {
    "GET /users/{user}/restore": "AccountNotFound",
    "POST /users/{user}/restore": "AccountNotFound",
    "POST /data/import": "INVALID_DATA",  # its body is no file
    "POST /users/{user}/addresses": "AddressExistsError",  # the other one was given it meanwhile
    "POST /users/{user}/2fa/totp/enable": "TotpDisabled",
    "POST /users/{user}/2fa/totp/check": "TotpDisabled",
    "DELETE /users/{user}/2fa/totp": "TotpDisabled",
    "POST /users/{user}/2fa/webauthn/registration-attestation": "ChallengeNotFound",
    "POST /users/{user}/2fa/webauthn/authentication-assertion": "ChallengeNotFound",
    "POST /users/{user}/mailboxes/{mailbox}/messages/{message}/submit": "MessageNotDraft",
}


async def _id(house: House, method: str, path: str, body: object, token: str = "") -> str:
    """The id of what is made so; "" when that is not routed."""
    reply = await (house.call(method, path, body, token) if token else house.call(method, path, body))
    if reply.status in (404, 405) and "message" in reply.json and "error" not in reply.json:
        return ""
    assert reply.status == 200, (path, reply.text)
    found = reply.json.get("id") or reply.json.get("queueId") or ""
    return str(found)


async def _account(house: House, name: str) -> dict[str, str]:
    """One of everything. `name` stands in all of it."""
    extra = {"name": name, "tags": [name], "metaData": {name: 1}, "internalData": {name: 1}}
    user = await _id(house, "POST", "/users", {"username": name, "password": "secretvalue", **extra})
    base = f"/users/{user}"
    mail = house.services.mail(Principal(user, name))
    raw = PICTURE.replace(b"a picture", f"a picture of {name}".encode()).replace(b"<1@x>", f"<{name}@x>".encode())
    uids = [(await mail.append("INBOX", [NewMessage(await mail.prepare(raw), ())]))[0].uid for _ in range(5)]
    inbox = (await mail.mailbox("INBOX")).id
    await house.call("DELETE", f"{base}/mailboxes/{inbox}/messages/{uids[0]}")
    archived = (await house.call("GET", f"{base}/archived/messages")).json["results"][0]["id"]
    shown = (await house.call("GET", f"{base}/mailboxes/{inbox}/messages/{uids[1]}")).json
    query = {"name": name, "query": {"subject": name}, "action": {"mailbox": inbox, "targets": [f"{name}@x.example"]}}
    await house.call("PUT", f"{base}/autoreply", {"status": True, "text": name, "subject": name})
    things = {
        "user": user,
        "username": name,
        "mail": f"{name}@example.com",
        "mailbox": inbox,
        "message": str(uids[1]),
        "last": str(uids[2]),
        "found": str(uids[3]),
        "thread": shown["thread"],
        "attachment": shown["attachments"][0]["id"],
        "archived": archived,
        "target": await _id(house, "POST", f"{base}/mailboxes", {"path": name}),
        "asp": await _id(house, "POST", f"{base}/asps", {"description": name, "scopes": ["imap"]}),
        "filter": await _id(house, "POST", f"{base}/filters", query),
        "id": await _id(house, "POST", f"{base}/addresses", {"address": f"{name}2@example.com", "name": name}),
        "file": await _id(house, "POST", f"{base}/storage", {"filename": f"{name}.txt", "content": name}),
        "queueId": await _queued(house, base, name),
        "webhook": await _id(
            house, "POST", "/webhooks", {"type": ["*"], "user": user, "url": f"https://{name}.example/"}
        ),
        "audit": await _id(
            house,
            "POST",
            "/audit",
            {"user": user, "expires": "2031-01-01T00:00:00.000Z"},
            await house.services.tokens.issue("audit"),
        ),
        "tag": f"{name}-tag",
        "event": (await house.call("GET", f"{base}/authlog")).json["results"][0]["id"],
    }
    things["address"] = things["id"]
    await house.services.address_register.flush()  # of what was sent
    await house.services.tracing.flush()
    key = Authenticator()
    ask = {"origin": key.origin, "description": name}
    keys = f"{base}/2fa/webauthn"
    asked = (await house.call("POST", f"{keys}/registration-challenge", ask)).json["registrationOptions"]
    answer = key.register(asked["challenge"])
    made = (await house.call("POST", f"{keys}/registration-attestation", answer)).json["response"]
    return {**things, "credential": made["id"], "credential_raw": made["rawId"]}


async def _server_things(house: House) -> dict[str, str]:
    """What belongs to no account, and no account's token gets to see."""
    domain = f"{MARK}.example"
    cert = {"servername": f"mail.{domain}", "acme": True}
    forwarded = {"address": f"{MARK}@away.example", "targets": [f"x@{domain}"]}
    return {
        "name": domain,
        "forwarded": await _id(house, "POST", "/addresses/forwarded", forwarded),
        "alias": await _id(house, "POST", "/domainaliases", {"alias": domain, "domain": "example.com"}),
        "domain": await _id(house, "POST", f"/domainaccess/{MARK}-tag/block", {"domain": f"bad.{domain}"}),
        "dkim": await _id(house, "POST", "/dkim", {"domain": domain, "selector": MARK}),
        "cert": await _id(house, "POST", "/certs", cert),
        "key": "const:max:filters",
        "servername": f"mail.{domain}",
    }


async def _queued(house: House, base: str, name: str) -> str:
    to = [{"address": f"{name}@away.example"}]
    body = {"to": to, "subject": name, "text": name, "sendTime": "2031-01-01T00:00:00.000Z"}
    reply = await house.call("POST", f"{base}/submit", body)
    if "error" not in reply.json and reply.status != 200:
        return ""
    assert reply.status == 200, reply.text
    return str(reply.json["message"]["queueId"])


async def _state(house: House, things: Things) -> dict[tuple[str, str], str]:
    """A digest of every document that names the account or one of its things."""
    ids = [ObjectId(value).binary for value in things.values() if re.fullmatch("[0-9a-f]{24}", value)]
    database, found = house.services.store.database, {}
    for name in sorted(await database.list_collection_names()):
        if name in _RESTLESS or name.startswith("system."):
            continue
        async for document in database[name].find():
            packed = bson.encode(document)
            if any(each in packed for each in ids):
                found[name, str(document["_id"])] = hashlib.sha256(packed).hexdigest()
    return found


class Matrix:
    """Makes requests, and gathers what was told or allowed that should not have been."""

    def __init__(self, house: House, own: Things, other: Things) -> None:
        self.house = house
        self.own = own
        self.other = other
        self.wrong: list[str] = []

    async def _call(self, attempt: Attempt, token: str) -> Reply:
        return await self.house.call(attempt.method, attempt.path, attempt.body, token)

    async def as_user(self, operation: str) -> None:
        """The one account's own token: on the other's things whole, by its own path, and in body and query."""
        reached = parameters(operation)
        tried = attempts(operation, self.other, self.other)
        mixed = {**self.other, "user": self.own["user"]}
        if reached - {"user"}:
            tried += attempts(operation, mixed, self.other)
            tried += attempts(operation, {**mixed, "mailbox": self.own["mailbox"]}, self.other)
        if names_things(operation) and "user" in reached:
            tried += attempts(operation, self.own, self.other)
        tried += await self._cursor(operation)
        user = await self.house.services.users.get(self.own["user"], SYSTEM)
        token = await self.house.services.tokens.issue("user", user)
        for attempt in tried:
            self._judge(f"{operation} as user", attempt, await self._call(attempt, token))

    async def _cursor(self, operation: str) -> list[Attempt]:
        """A listing of one's own with the other's cursor."""
        if not takes_cursor(operation) or "user" not in parameters(operation):
            return []
        [first, *_] = attempts(operation, self.other, self.other)
        reply = await self.house.call("GET", f"{first.path.partition('?')[0]}?limit=1")
        cursor = reply.json.get("nextCursor")
        if not cursor:
            return []
        [mine, *_] = attempts(operation, self.own, self.own)
        return [Attempt("GET", f"{mine.path.partition('?')[0]}?next={cursor}&limit=250", None)]

    async def as_program(self, operation: str, role: str) -> None:
        permission = OPERATIONS[operation]
        assert permission is not None
        if (permission.resource, permission.action) in ROLES[role]:
            return
        token = await self.house.services.tokens.issue(role)
        for attempt in attempts(operation, self.other, self.other):
            reply = await self._call(attempt, token)
            self._judge(f"{operation} as {role}", attempt, reply)
            if reply.status != 403 or reply.json["code"] != "MissingPrivileges":
                self._note(f"{operation} as {role}", reply)

    def _note(self, what: str, reply: Reply) -> None:
        self.wrong.append(f"{what}: {reply.status} {' '.join(reply.text[:300].split())}")

    def _judge(self, what: str, attempt: Attempt, reply: Reply) -> None:
        sent = f"{attempt.path} {orjson.dumps(attempt.body).decode()}"
        told = {
            value
            for name, value in self.other.items()
            if len(value) >= _TELLING and name != "attachment" and value in reply.text and value not in sent
        }
        at = f"{what}, {attempt.path}"
        if told or (MARK in reply.text.lower() and MARK not in sent):
            self._note(f"{at}: tells {told or MARK}", reply)
        if reply.status == 400 and b'"details"' in reply.text.encode():
            self._note(f"{at}: the request is not valid", reply)
        if reply.status >= 500 and not _is_documented(reply):
            self._note(at, reply)


def _is_documented(reply: Reply) -> bool:
    """The reference answers some refusals so."""
    return reply.json.get("code") in ("UserNotFound", "AccountNotFound", "ERRCOMPOSE")


async def test_nobody_reads_or_changes_what_is_anothers(house: House) -> None:
    own, other = await _account(house, "anna"), await _account(house, MARK)
    other |= await _server_things(house)
    before = await _state(house, other)
    assert len(before) > 15
    matrix = Matrix(house, own, other)
    for operation in _TRIED:
        matrix.own, matrix.other = called(operation, own), called(operation, other)
        await matrix.as_user(operation)
        for role in _BELOW:
            await matrix.as_program(operation, role)
        after = await _state(house, other)
        changed = {at for at in before.keys() | after.keys() if before.get(at) != after.get(at)}
        if changed:
            matrix.wrong.append(f"{operation}: changed {sorted(changed)}")
            before = after
    assert not matrix.wrong, "\n".join(matrix.wrong)
    await _control(house, other)


async def _control(house: House, other: dict[str, str]) -> None:
    """With the rights for it each of these requests is carried out: they were refused for whom, not for what, they
    asked."""
    wrong = []
    for operation in sorted(_TRIED, key=_late):
        permission = OPERATIONS[operation]
        assert permission is not None
        if not _there(operation, other) or operation == "GET /users/{user}/updates":
            continue
        role = next(
            role for role in ("root", "audit", "export") if permission.resource in {row[0] for row in ROLES[role]}
        )
        token = await house.services.tokens.issue(role)
        things = called(operation, other)
        [attempt, *_] = attempts(operation, things, things)
        reply = await house.call(attempt.method, attempt.path, attempt.body, token)
        if reply.status != 200 and reply.json.get("code") != _ELSEWISE.get(operation, ""):
            wrong.append(f"{operation}: {reply.status} {' '.join(reply.text[:200].split())}")
    assert not wrong, "\n".join(wrong)


def _there(operation: str, things: Things) -> bool:
    """All that the path names was made."""
    return all(things.get(name) for name in parameters(operation))


def _late(operation: str) -> tuple[int, int, int, str]:
    """Reading first, then what makes, then what changes or removes: parts before what they are part of."""
    method = ("GET", "POST", "PUT", "DELETE").index(operation.partition(" ")[0])
    return min(method, 2), -operation.count("/") if method > 1 else 0, method, operation
