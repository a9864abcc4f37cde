"""Every way into a mailbox stores what it should: encrypted where the account or the mailbox asks for it, no draft, and
nothing of it in plain anywhere in the database."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from hashlib import sha512

import pytest
from pysequoia import Cert, Tsk
from pysequoia.packet import PacketPile

from duckmail.app.listeners import LMTP
from duckmail.model.account import Principal
from duckmail.model.message import NewMessage
from duckmail.model.ranges import Ranges
from duckmail.services.mail import Mail
from storage.mongo.client import object_id
from tests.support.house import House, Lines, open_house
from tests.support.pgp import opened, public
from tests.support.stores import Ears

SECRET = b"the secret is a heron"
LARGE = 300_000


def mail(number: int = 1, *, large: bool = False) -> bytes:
    """`large`: with an attachment that is stored as a part."""
    head = (
        "From: Bert <bert@example.net>\r\nTo: anna@example.com\r\nSubject: hello\r\n"
        f"Message-ID: <{number}@example.net>\r\nMIME-Version: 1.0\r\n"
    ).encode()
    text = b"Content-Type: text/plain\r\n\r\n" + SECRET + b"\r\n"
    if not large:
        return head + text
    data = noise(LARGE).hex().encode()
    lines = b"\r\n".join(data[start : start + 76] for start in range(0, len(data), 76))
    return (
        head + b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n' + text + b"--b\r\n"
        b"Content-Type: application/octet-stream\r\n\r\n" + lines + b"\r\n--b--\r\n"
    )


def noise(octets: int) -> bytes:
    return b"".join(sha512(number.to_bytes(4)).digest() for number in range(octets // 64 + 1))[:octets]


@pytest.fixture
async def house(mongo_uri: str, database_name: str) -> AsyncIterator[House]:
    async with open_house(mongo_uri, database_name) as opened_house:
        yield opened_house


@pytest.fixture(scope="module")
def key() -> Tsk:
    return Tsk.generate("Anna <anna@example.com>")


@pytest.fixture(scope="module")
def expired() -> Cert:
    """A second from now."""
    return Tsk.generate("Anna <anna@example.com>", validity_seconds=1).extract_certificate()


async def vault(house: House, user: str, path: str = "vault") -> str:
    """A mailbox that encrypts."""
    reply = await house.call("POST", f"/users/{user}/mailboxes", {"path": path, "encryptMessages": True})
    assert reply.status == 200, reply.text
    return str(reply.json["id"])


async def deliver(house: House, raw: bytes, *names: str) -> None:
    lines = await house.connect(LMTP)
    await lines.ask("LHLO relay.example", "250 ")
    await lines.ask("MAIL FROM:<bert@example.net>")
    for name in names or ("anna",):
        assert (await lines.ask(f"RCPT TO:<{name}@example.com>")).startswith("250")
    await lines.ask("DATA")
    assert (await lines.ask(raw.decode() + ".")).startswith("250")
    for _ in names[1:]:
        assert (await lines.line()).startswith("250")


async def stored(house: House, user: str, path: str) -> list[bytes]:
    """The messages of a mailbox as they are kept, in order."""
    store = house.services.store
    mailbox = await store.mailboxes.by_path(user, path)
    rows = await store.database["messages"].find({"mailbox": object_id(mailbox.id)}).sort("uid", 1).to_list(None)
    contents = await store.contents.load([str(row["content"]) for row in rows])
    found = []
    for row in rows:
        raw = b"".join([piece async for piece in contents[str(row["content"])].read()])
        assert int(row["size"]) == len(row.get("prefix", b"")) + len(raw)
        found.append(raw)
    return found


async def in_plain(house: House) -> bool:
    """Whether anything in the database holds the secret, or the noise of a large part, in plain."""
    database = house.services.store.database
    start = noise(64).hex().encode()
    marks = (SECRET, start[:40])
    async for row in database["contents"].find({}):
        octets = [row["header"], *row["segments"]]
        if any(mark in piece for piece in octets if isinstance(piece, bytes) for mark in marks):
            return True
    async for row in database["texts"].find({}):
        if SECRET.decode() in row["text"]:
            return True
    async for chunk in database["blobs.chunks"].find({}):
        if any(mark in chunk["data"] for mark in marks):
            return True
    return False


async def counted_right(house: House, user: str) -> None:
    """The counters are those of the messages."""
    store = house.services.store
    for mailbox in await store.mailboxes.list(user):
        rows = await store.database["messages"].find({"mailbox": object_id(mailbox.id)}).to_list(None)
        assert (mailbox.messages, mailbox.size) == (len(rows), sum(int(row["size"]) for row in rows)), mailbox.path


async def append(lines: Lines, path: str, raw: bytes, flags: str = "()") -> str:
    return await lines.ask(f"b APPEND {path} {flags} {{{len(raw)}+}}\r\n{raw.decode()}", "b ")


@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
async def test_nothing_in_plain_of_what_is_delivered(house: House, key: Tsk, large: bool) -> None:
    user = await house.make_user(pub_key=public(key), encrypt_messages=True)
    await deliver(house, mail(large=large))
    (raw,) = await stored(house, user, "INBOX")
    assert SECRET in opened(raw, key)
    assert not await in_plain(house)
    # Who wants it in plain gets it so, and the other one still does not.
    other = await house.make_user("bert")
    await deliver(house, mail(2, large=large), "anna", "bert")
    assert (await stored(house, other, "INBOX"))[0] == mail(2, large=large)
    assert SECRET in opened((await stored(house, user, "INBOX"))[1], key)
    assert await in_plain(house)


async def test_the_mailbox_of_a_filter(house: House, key: Tsk) -> None:
    user = await house.make_user(pub_key=public(key))
    mailbox = await vault(house, user)
    body = {"query": {"subject": "hello"}, "action": {"mailbox": mailbox}}
    assert (await house.call("POST", f"/users/{user}/filters", body)).status == 200
    await deliver(house, mail(large=True))
    (raw,) = await stored(house, user, "vault")
    assert SECRET in opened(raw, key)
    assert not await in_plain(house)
    assert (await house.call("DELETE", f"/users/{user}/mailboxes/{mailbox}")).status == 200
    await deliver(house, mail(2))
    assert await stored(house, user, "INBOX") == [mail(2)]


async def test_what_is_forwarded_is_not_what_is_stored(house: House, key: Tsk) -> None:
    """Stored encrypted, sent on as it came: both are there."""
    user = await house.make_user(targets=("c@example.net",), pub_key=public(key), encrypt_messages=True)
    await deliver(house, mail(large=True))
    assert SECRET in opened((await stored(house, user, "INBOX"))[0], key)
    store = house.services.store
    (queued,) = await store.database["queue"].find({}).to_list(None)
    contents = await store.contents.load([str(queued["content"])])
    assert b"".join([piece async for piece in contents[str(queued["content"])].read()]) == mail(large=True)


@pytest.mark.parametrize("whole", [True, False], ids=["account", "mailbox"])
async def test_appended_by_imap(house: House, key: Tsk, whole: bool) -> None:
    user = await house.make_user(pub_key=public(key), encrypt_messages=whole)
    mailbox = await vault(house, user)
    lines, _ = await house.imap()
    one, two = mail(1), mail(2, large=True)
    said = await lines.ask(
        f"b APPEND vault () {{{len(one)}+}}\r\n{one.decode()} (\\Seen) {{{len(two)}+}}\r\n{two.decode()}", "b "
    )
    assert said.startswith("b OK [APPENDUID"), said
    found = await stored(house, user, "vault")
    assert [SECRET in opened(raw, key) for raw in found] == [True, True]
    assert not await in_plain(house)
    # A part of one, and text of its own, put together (RFC 4469); then one in the place of another (RFC 8508).
    await lines.ask("s SELECT vault", "s ")
    catenated = "b APPEND vault CATENATE (TEXT {19+}\r\nSubject: joined\r\n\r\n TEXT {2+}\r\nxy)"
    assert (await lines.ask(catenated, "b ")).startswith("b OK")
    assert opened((await stored(house, user, "vault"))[2], key).endswith(b"xy")
    assert (await lines.ask(f"b REPLACE 1 vault {{{len(one)}+}}\r\n{one.decode()}", "b ")).startswith("b OK")
    assert SECRET in opened((await stored(house, user, "vault"))[2], key)
    assert not await in_plain(house)
    assert (await append(lines, "vault", one, "(\\Draft)")).startswith("b OK")
    assert (await stored(house, user, "vault"))[3] == one
    await counted_right(house, user)
    assert (await house.call("GET", f"/users/{user}/mailboxes/{mailbox}")).json["encryptMessages"] is True


async def rows(house: House, path: str) -> dict[int, str]:
    """UID and EMAILID."""
    lines, _ = await house.imap()
    await lines.ask(f"b SELECT {path}", "b ")
    await lines.send("c UID FETCH 1:* (EMAILID)")
    found = {}
    while not (said := await lines.line()).startswith("c "):
        if "FETCH (" in said:
            words = said.replace("(", " ").replace(")", " ").split()
            found[int(words[words.index("UID") + 1])] = words[words.index("EMAILID") + 1]
    return found


async def filled(house: House, key: Tsk) -> tuple[str, Lines]:
    """A plain message, a draft, an encrypted one and a large one in INBOX, which is selected."""
    user = await house.make_user(pub_key=public(key))
    await vault(house, user)
    lines, _ = await house.imap()
    await append(lines, "vault", mail(3))
    await append(lines, "INBOX", mail(1), "(\\Seen hello)")
    await append(lines, "INBOX", mail(2), "(\\Draft)")
    await lines.ask("s SELECT vault", "s ")
    assert (await lines.ask("c COPY 1 INBOX", "c ")).startswith("c OK")
    await append(lines, "INBOX", mail(4, large=True))
    await lines.ask("s SELECT INBOX", "s ")
    return user, lines


def kinds(found: Sequence[bytes], key: Tsk) -> list[str]:
    return ["plain" if SECRET in raw else "sealed" if SECRET in opened(raw, key) else "" for raw in found]


async def test_copied_by_imap(house: House, key: Tsk) -> None:
    user, lines = await filled(house, key)
    before = await rows(house, "INBOX")
    said = await lines.ask("c UID COPY 1:4 vault", "c ")
    assert said.startswith("c OK [COPYUID "), said
    assert said.split("]")[0].endswith(" 1:4 2:5"), said
    found = await stored(house, user, "vault")
    assert kinds(found[1:], key) == ["sealed", "plain", "sealed", "sealed"]
    assert found[3] == found[0]  # what was encrypted is shared
    after = await rows(house, "vault")
    # RFC 8474 §5.1: the same EMAILID where the octets are the same, another where they are not.
    assert [after[uid + 1] == before[uid] for uid in (1, 2, 3, 4)] == [False, True, True, False]
    assert kinds(await stored(house, user, "INBOX"), key) == ["plain", "plain", "sealed", "plain"]
    await counted_right(house, user)
    await lines.ask("s SELECT vault", "s ")
    assert "hello" in await lines.ask("f FETCH 2 FLAGS", "* 2 FETCH")


async def test_moved_by_imap(house: House, key: Tsk) -> None:
    user, lines = await filled(house, key)
    before = await rows(house, "INBOX")
    said = await lines.ask("m UID MOVE 1:4 vault", "* OK [COPYUID")
    assert said.split("]")[0].endswith(" 1:4 2:5"), said
    assert (await lines.ask("n NOOP", "n ")).startswith("n OK")
    assert await stored(house, user, "INBOX") == []
    found = await stored(house, user, "vault")
    assert kinds(found[1:], key) == ["sealed", "plain", "sealed", "sealed"]
    after = await rows(house, "vault")
    assert [after[uid + 1] == before[uid] for uid in (1, 2, 3, 4)] == [False, True, True, False]
    await counted_right(house, user)
    await lines.ask("s SELECT vault", "s ")
    said = await lines.ask("f FETCH 2 FLAGS", "* 2 FETCH")
    assert "hello" in said
    assert "\\Seen" in said
    # Within the mailbox nothing is encrypted anew.
    assert (await lines.ask("m UID MOVE 3 vault", "m ")).startswith("m OK")
    assert kinds(await stored(house, user, "vault"), key)[-1] == "plain"


async def test_moved_and_restored_by_the_api(house: House, key: Tsk) -> None:
    user = await house.make_user(pub_key=public(key))
    mailbox = await vault(house, user)
    await deliver(house, mail(1))
    await deliver(house, mail(2, large=True))
    inbox = (await house.call("GET", f"/users/{user}/mailboxes")).json["results"][0]["id"]
    reply = await house.call("PUT", f"/users/{user}/mailboxes/{inbox}/messages/1", {"moveTo": mailbox})
    assert [pair[0] for pair in reply.json["id"]] == [1], reply.text
    body = {"mailbox": inbox, "action": {"moveTo": mailbox}}
    reply = await house.call("POST", f"/users/{user}/search", body)
    assert reply.status == 200, reply.text
    while await house.work():
        pass
    assert kinds(await stored(house, user, "vault"), key) == ["sealed", "sealed"]
    await deliver(house, mail(4))
    (uid,) = [
        row["id"] for row in (await house.call("GET", f"/users/{user}/mailboxes/{inbox}/messages")).json["results"]
    ]
    await house.call("DELETE", f"/users/{user}/mailboxes/{inbox}/messages/{uid}")
    (row,) = (await house.call("GET", f"/users/{user}/archived/messages")).json["results"]
    path = f"/users/{user}/archived/messages/{row['id']}/restore"
    reply = await house.call("POST", path, {"mailbox": mailbox})
    assert reply.status == 200, reply.text
    assert kinds(await stored(house, user, "vault"), key) == ["sealed"] * 3
    assert await stored(house, user, "INBOX") == []
    await counted_right(house, user)


async def test_the_copy_of_what_is_sent(house: House, key: Tsk) -> None:
    user = await house.make_user(pub_key=public(key), encrypt_messages=True, upload_sent_messages=True)
    body = {"to": [{"address": "c@example.net"}], "subject": "x", "text": SECRET.decode()}
    reply = await house.call("POST", f"/users/{user}/submit", body)
    assert reply.status == 200, reply.text
    lines, _ = await house.submission()
    await lines.ask("MAIL FROM:<anna@example.com>")
    await lines.ask("RCPT TO:<d@example.net>")
    await lines.ask("DATA")
    assert (await lines.ask(mail(7).decode().replace("bert@example.net", "anna@example.com") + ".")).startswith("250")
    assert kinds(await stored(house, user, "Sent Mail"), key) == ["sealed", "sealed"]
    store = house.services.store
    queued = await store.database["queue"].find({}).to_list(None)
    contents = await store.contents.load([str(row["content"]) for row in queued])
    assert len(queued) == 2
    for content in contents.values():
        assert SECRET in b"".join([piece async for piece in content.read()])
    assert (await house.call("POST", f"/users/{user}/submit", {**body, "isDraft": True})).status == 200
    assert kinds(await stored(house, user, "Drafts"), key) == ["plain"]


@pytest.mark.parametrize("case", ["expired", "signs-only", "no-key"])
async def test_a_key_that_cannot_encrypt_loses_nothing(
    house: House, expired: Cert, key: Tsk, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The message is kept as it came, and the log says so; such a key is not taken in the first place."""
    packets = list(PacketPile.from_bytes(bytes(key.extract_certificate())))
    signs = Cert.from_packets(packets[:3])
    wrong = {"expired": str(expired), "signs-only": str(signs), "no-key": "-----BEGIN PGP PUBLIC KEY BLOCK-----"}[case]
    while expired.expiration and expired.expiration > datetime.now(UTC):
        await asyncio.sleep(0.05)
    reply = await house.call("PUT", f"/users/{await house.make_user('bert')}", {"pubKey": wrong})
    assert (reply.status, reply.json["code"]) == (400, "InputValidationError")
    user = await house.make_user(
        pub_key=public(key), encrypt_messages=True, encrypt_forwarded=True, targets=("c@d.example",)
    )
    await house.services.store.database["users"].update_one({"_id": object_id(user)}, {"$set": {"pubKey": wrong}})
    await deliver(house, mail())
    assert await stored(house, user, "INBOX") == [mail()]
    assert await house.services.store.database["queue"].count_documents({}) == 1
    assert any(record.getMessage() == "stored in plain" for record in caplog.records)
    await vault(house, user)
    lines, _ = await house.imap()
    await lines.ask("s SELECT INBOX", "s ")
    assert (await lines.ask("c MOVE 1 vault", "c ")).startswith("c OK")
    assert await stored(house, user, "vault") == [mail()]


async def test_many_at_once_are_all_or_none(house: House, key: Tsk) -> None:
    """A copy of many into a mailbox that encrypts, and one that the quota does not let through."""
    user = await house.make_user(pub_key=public(key))
    await vault(house, user)
    box = Mail(house.services.store, Principal(user, "anna"))
    new = [NewMessage(await box.prepare(mail(number))) for number in range(120)]
    await box.append("INBOX", new)
    ears = Ears()
    view = await box.open("INBOX", ears)
    result = await box.copy(view, Ranges(((1, 120),)), "vault")
    assert (result.source, result.target) == (list(range(1, 121)), list(range(1, 121)))
    assert kinds(await stored(house, user, "vault"), key) == ["sealed"] * 120
    await counted_right(house, user)
    box.close_view(view, ears)


async def test_what_others_put_into_a_shared_mailbox_that_encrypts(house: House, key: Tsk) -> None:
    """It is encrypted to its owner's key, whatever the key of who puts it there."""
    owner, other = await house.make_user(pub_key=public(key)), Tsk.generate("Bert <bert@example.com>")
    await vault(house, owner)
    bert = await house.make_user("bert", pub_key=public(other))
    anna, _ = await house.imap()
    assert (await anna.ask("x SETACL vault bert lrsite", "x ")).startswith("x OK")
    lines, _ = await house.imap("bert")
    await append(lines, "Shared/anna/vault", mail(1, large=True))
    await append(lines, "INBOX", mail(2), "(\\Seen)")
    await append(lines, "INBOX", mail(3))
    await lines.ask("s SELECT INBOX", "s ")
    assert (await lines.ask("c COPY 1 Shared/anna/vault", "c ")).startswith("c OK")
    assert (await lines.ask("m MOVE 2 Shared/anna/vault", "m ")).startswith("m OK")
    found = await stored(house, owner, "vault")
    assert kinds(found, key) == ["sealed"] * 3
    # Its reader sees what is stored.
    await lines.ask("t SELECT Shared/anna/vault", "t ")
    said = await lines.ask("f FETCH 2 (FLAGS RFC822.SIZE)", "* 2 ")
    assert "\\Seen" in said
    assert said.endswith(f"RFC822.SIZE {len(found[1])})")
    assert kinds(await stored(house, bert, "INBOX"), other) == ["plain"]
    await counted_right(house, owner)
