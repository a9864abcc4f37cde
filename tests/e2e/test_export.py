"""Accounts exported and read again, here or by another server: exact octets, once, and nobody else's."""

from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import pytest
from aiohttp import ClientSession
from bson.objectid import ObjectId

from duckmail.model.message import NewMessage
from duckmail.services.access import SYSTEM
from duckmail.services.mail import Mail
from storage.fsck import check
from storage.mongo.client import object_id
from storage.transfer import MAGIC
from tests.support.authenticator import Authenticator
from tests.support.contents import attachment, multipart, octets, plain
from tests.support.house import PASSWORD, House, open_house
from tests.support.stores import message

PLAIN = ("addresses", "asps", "autoreplies", "filters", "addressregister", "webauthnkeys")


@pytest.fixture
async def other(mongo_uri: str, house: House) -> AsyncIterator[House]:
    """Another server, with a database of its own."""
    name = f"{house.services.config.mongo.database}_o"
    async with open_house(mongo_uri, name) as opened:
        yield opened
        await opened.services.store.client.drop_database(name)


async def exporter(house: House) -> str:
    return await house.services.tokens.issue("export")


async def exported(house: House, **body: object) -> bytes:
    headers = {"X-Access-Token": await exporter(house)}
    async with house.session.post(f"{house.base}/data/export", json=body, headers=headers) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "application/octet-stream"
        return await response.read()


async def load(house: House, file: bytes) -> tuple[int, Any]:
    headers = {"X-Access-Token": await exporter(house), "Content-Type": "application/octet-stream"}
    async with house.session.post(f"{house.base}/data/import", data=BytesIO(file), headers=headers) as response:
        return response.status, await response.json()


async def mail_of(house: House, username: str) -> Mail:
    return house.services.mail(await house.services.auth.login(username, PASSWORD, "imap", "", "imap"))


RAW = [
    message(1),
    b"From: a\nSubject: lf and \xff octets\n\nno end",
    multipart(plain("large"), attachment(octets(300_000), "a.bin")),
]


async def full(house: House, username: str = "anna") -> str:
    user = await house.make_user(username, tags=("Paying",))
    path = f"/users/{user}"
    for method, below, body in (
        ("POST", "/addresses", {"address": f"{username}2@example.com"}),
        ("POST", "/asps", {"description": "phone", "scopes": ["imap"]}),
        ("POST", "/filters", {"name": "f", "query": {"from": "x"}, "action": {"seen": True}}),
        ("PUT", "/autoreply", {"status": True, "text": "away"}),
        ("POST", "/mailboxes", {"path": "Work/Old", "retention": 10**12}),
    ):
        reply = await house.call(method, path + below, body)
        assert reply.status == 200, reply.text
    await house.services.store.address_register.note({(user, "f@x.example"): ("f@x.example", "Friend")})
    mail = await mail_of(house, username)
    for raw in RAW:
        new = NewMessage(await mail.prepare(raw), ("\\Seen", "$Label"), prefix=b"Delivered-To: anna\r\n")
        await mail.append("Work/Old", [new])
    await mail.append("INBOX", [NewMessage(await mail.prepare(message(9)))])
    return user


async def seen(house: House, user: str) -> dict[str, Any]:
    """What the API and the store tell of an account."""
    database = house.services.store.database
    owner = object_id(user)
    found: dict[str, Any] = {
        name: await database[name].find({"user": owner}).sort("_id", 1).to_list(None) for name in PLAIN
    }
    found["user"] = {
        key: value for key, value in (await house.call("GET", f"/users/{user}")).json.items() if key not in ("limits",)
    }
    boxes = (await house.call("GET", f"/users/{user}/mailboxes?counters=1&sizes=1")).json["results"]
    found["mailboxes"] = boxes
    for box in boxes:
        base = f"/users/{user}/mailboxes/{box['id']}/messages"
        rows = (await house.call("GET", base)).json["results"]
        found[box["path"]] = [
            (row["subject"], row["idate"], row["seen"], await source(house, f"{base}/{row['id']}/message.eml"))
            for row in rows
        ]
    return found


async def beside(house: House, user: str) -> dict[str, Any]:
    """What an account has that is in no mailbox: archived messages, files, mail that waits."""
    base, services = f"/users/{user}", house.services
    archived = (await house.call("GET", f"{base}/archived/messages")).json["results"]
    files = (await house.call("GET", f"{base}/storage")).json["results"]
    queued = []
    async for each in services.queue.messages():
        loaded = await services.store.contents.load([each.content])
        octets = b"".join([piece async for piece in loaded[each.content].read()])
        queued.append((each.id, each.user, each.envelope, each.recipients, each.size, each.prefix, octets))
    return {
        "archived": archived,
        "files": [(file, await source(house, f"{base}/storage/{file['id']}")) for file in files],
        "queue": queued,
        "keys": (await house.call("GET", f"{base}/2fa/webauthn/credentials")).json["credentials"],
    }


async def _with_more(house: House, user: str) -> None:
    """An archived message, a file, mail for later, a security key."""
    base = f"/users/{user}"
    inbox = (await house.call("GET", f"{base}/mailboxes")).json["results"][0]["id"]
    later = {"to": [{"address": "x@away.example"}], "subject": "later", "text": "t", "sendTime": "2031-01-01"}
    key = Authenticator()
    ask = {"origin": "https://webmail.example.com", "description": "blue"}
    asked = await house.call("POST", f"{base}/2fa/webauthn/registration-challenge", ask)
    answer = key.register(asked.json["registrationOptions"]["challenge"])
    for method, path, body in (
        ("DELETE", f"{base}/mailboxes/{inbox}/messages/1", None),
        ("POST", f"{base}/storage", {"content": "f" * 700_000, "filename": "f.txt", "cid": "c"}),
        ("POST", f"{base}/submit", later),
        ("POST", f"{base}/2fa/webauthn/registration-attestation", answer),
    ):
        reply = await house.call(method, path, body)
        assert reply.status == 200, reply.text


async def test_what_is_in_no_mailbox_moves_too(house: House, other: House) -> None:
    user, bert = await full(house), await full(house, "bert")
    await _with_more(house, user)
    before = await beside(house, user)
    assert [len(found) for found in before.values()] == [1, 1, 1, 1]
    await _with_more(house, bert)
    file = await exported(house, users=[user])
    status, told = await load(other, file)
    count = told["result"]["entries"]
    assert (status, told["result"]) == (200, {"entries": count, "imported": count, "failed": 0, "existing": 0})
    assert await beside(other, user) == before
    assert await check(other.services.store) == []
    again = (await load(other, file))[1]["result"]
    assert again == {"entries": count, "imported": 0, "failed": 0, "existing": count}
    # The mail waits to be released; the archived message comes back whole.
    [held] = [each async for each in other.services.queue.messages()]
    assert held.held
    archived = before["archived"][0]["id"]
    restored = await other.call("POST", f"/users/{user}/archived/messages/{archived}/restore", {})
    assert restored.status == 200, restored.text
    at = f"/users/{user}/mailboxes/{restored.json['mailbox']}/messages/{restored.json['id']}/message.eml"
    assert await source(other, at) == message(9)
    assert (await load(other, file))[1]["result"]["failed"] == 0
    assert await check(other.services.store) == []


async def source(house: House, path: str) -> bytes:
    headers = {"X-Access-Token": "a-static-token"}
    async with ClientSession() as session, session.get(house.base + path, headers=headers) as response:
        return await response.read()


async def test_an_account_moves_to_another_server(house: House, other: House) -> None:
    user, bert = await full(house), await full(house, "bert")
    before = await seen(house, user)
    assert {raw for _, _, _, raw in before["Work/Old"]} == {b"Delivered-To: anna\r\n" + raw for raw in RAW}
    file = await exported(house, users=[user])
    status, told = await load(other, file)
    count = told["result"]["entries"]
    assert (status, told) == (200, {"result": {"entries": count, "imported": count, "failed": 0, "existing": 0}})
    assert await seen(other, user) == before
    assert await other.services.store.database["users"].count_documents({}) == 1
    assert bert.encode() not in file
    assert PASSWORD.encode() not in file
    lines, answer = await other.imap()
    assert answer.startswith("a OK"), "the password is the same"
    assert await lines.ask('s STATUS "Work/Old" (MESSAGES UIDNEXT)', "* STATUS") == (
        "* STATUS Work/Old (MESSAGES 3 UIDNEXT 4)"
    )
    assert await check(other.services.store) == []
    again = await load(other, file)
    assert again == (200, {"result": {"entries": count, "imported": 0, "failed": 0, "existing": count}})
    assert await seen(other, user) == before


async def test_what_was_cut_off_goes_on(house: House, other: House) -> None:
    user = await full(house)
    file = await exported(house, users=[user])
    for part in (len(file) // 3, len(file) - 1):
        assert (await load(other, file[:part])) == (500, {"error": "The file ends too early", "code": "INVALID_DATA"})
    assert (await load(other, file))[0] == 200
    assert await seen(other, user) == await seen(house, user)
    assert await check(other.services.store) == []


async def test_by_tags_or_none(house: House) -> None:
    user = await full(house)
    assert user.encode() not in await exported(house, tags=["other"])
    assert await exported(house) == b""
    assert await exported(house, users=[str(ObjectId())]) == b""
    assert object_id(user).binary in await exported(house, tags=["paying"])


async def test_a_name_that_is_taken_stays_its_owner_s(house: House, other: House) -> None:
    user = await full(house)
    there = await other.make_user()
    result = (await load(other, await exported(house, users=[user])))[1]["result"]
    assert result["imported"] == 0
    assert result["failed"] == result["entries"]
    assert (await other.services.users.get(there, SYSTEM)).username == "anna"
    assert await check(other.services.store) == []


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"something else altogether", id="something-else"),
        pytest.param(MAGIC + b"\xff\xff\xff\xff", id="too-long"),
        pytest.param(MAGIC + b"\x05\0\0\0" + b"\x05\0\0\0\0", id="unknown-record"),
        pytest.param(MAGIC + b"\x06\0\0\0" + b"\x09\0\0\0xx", id="no-bson"),
    ],
)
async def test_what_is_no_export_is_refused(house: House, file: bytes) -> None:
    status, told = await load(house, file)
    assert (status, told["code"]) == (500, "INVALID_DATA")


async def test_who_may(house: House) -> None:
    user = await house.make_user()
    own = await house.services.tokens.issue("user", await house.services.users.get(user, SYSTEM))
    for token in (own, await house.services.tokens.issue("root"), await house.services.tokens.issue("manager")):
        for path in ("/data/export", "/data/import"):
            refused = await house.call("POST", path, {}, token)
            assert (refused.status, refused.json["code"]) == (403, "MissingPrivileges")
    wrong = await house.call("POST", "/data/export", {"users": ["x"]}, await exporter(house))
    assert (wrong.status, wrong.json["code"]) == (400, "InputValidationError")
