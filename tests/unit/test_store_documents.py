"""Message documents stay small whoever has written the message, and what is not in them is found all the same."""

import base64
from datetime import UTC, datetime

import bson
import pytest

from duckmail.errors import Unavailable
from duckmail.model import search
from duckmail.model.account import Principal
from duckmail.model.message import FlagChange, FlagOperation, Needs, NewMessage
from duckmail.model.ranges import Ranges
from duckmail.services.mail import Mail
from storage.changes import base
from storage.documents import ATTACHMENTS, LISTED, message_document
from storage.fsck import check
from storage.store import Store
from tests.support.stores import Ears, message, put

ALL = Ranges(((1, 4_294_967_295),))
FACE = "\N{GRINNING FACE}"


def word(text: str) -> str:
    return f"=?utf-8?B?{base64.b64encode(text.encode()).decode()}?="


def hostile() -> bytes:
    """Everything that a document keeps of a message, as long as it gets."""
    name = "".join("%F0%9F%98%80" for _ in range(1000))
    people = ",\r\n ".join(f"{word(FACE * 100)} <a{number}@example.com>" for number in range(60))
    head = [f"Subject: {word(FACE * 9000 + 'needle')}", f"Message-ID: <{'x' * 2000}@example.com>"]
    head += [f"{field}: {people}" for field in ("From", "Reply-To", "To", "Cc", "Bcc")]
    head += ["MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=b"]
    part = (
        f"--b\r\nContent-Disposition: attachment; filename*=utf-8''{name}\r\nContent-ID: <{word(FACE * 240)}>\r\n\r\n"
    )
    return ("\r\n".join(head) + "\r\n\r\n" + (part + "x\r\n") * 100 + "--b--\r\n").encode()


def many(recipients: int) -> bytes:
    people = ",\r\n ".join(f"Person {number} <p{number}@example.com>" for number in range(recipients))
    return f"From: a@example.com\r\nSubject: to all\r\nTo: {people}\r\n\r\nhello\r\n".encode()


@pytest.mark.parametrize("raw", [hostile(), many(2_000), message(1)], ids=["hostile", "many-recipients", "small"])
async def test_a_document_is_small(mail: Mail, raw: bytes) -> None:
    content = await mail.prepare(raw)
    document = message_document(NewMessage(content), content, datetime.now(UTC))  # type: ignore[arg-type]
    rest = {name: value for name, value in document.items() if name not in ("envelope", "bodystructure")}
    assert len(bson.encode(rest)) < LISTED + ATTACHMENTS + 2048
    assert len(document.get("envelope", b"")) <= 16 * 1024
    assert len(document.get("bodystructure", b"")) <= 16 * 1024


async def test_search_finds_what_is_not_listed(mail: Mail) -> None:
    for raw in (hostile(), many(2_000), many(3), message(1)):
        await mail.append("INBOX", [NewMessage(await mail.prepare(raw))])
    view = await mail.open("INBOX", Ears())
    cases = [
        (search.Header("subject", "needle"), [1]),
        (search.Header("subject", "to all"), [2, 3]),
        (search.Header("to", "person 2 <p2@"), [2, 3]),
        (search.Header("to", "p1999@example.com"), [2]),
        (search.Header("bcc", "a59@example.com"), [1]),
        (search.Not(search.Header("to", "p1")), [1, 4]),
    ]
    for node, expected in cases:
        assert await mail.search(view, node) == expected, node


async def test_transactions_are_bounded_by_octets_too(
    store: Store, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MongoDB keeps what a transaction writes in its cache until the commit, and refuses what does not fit."""
    monkeypatch.setattr(base, "CHUNK_OCTETS", 300_000)
    await mail.create("Copies")
    content = await mail.prepare(many(30))
    await mail.append("INBOX", [NewMessage(content)] * 250)
    view = await mail.open("INBOX", Ears())
    copied = await mail.copy(view, ALL, "Copies")
    assert copied.source == copied.target == list(range(1, 251))
    copies = await store.database["messages"].distinct(
        "modseq", {"savedate": {"$exists": True}, "mailbox": {"$exists": True}}
    )
    assert len(copies) > 2, "more than one transaction"
    assert await store.database["undos"].count_documents({}) == 0
    await mail.store_flags(view, ALL, FlagChange(FlagOperation.ADD, ("\\Deleted",)))
    assert await mail.expunge(view) == copied.source
    assert await store.database["expunged"].count_documents({}) > 1
    assert await store.database["archived"].count_documents({}) == 250
    assert await check(store) == []


def test_chunks_hold_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "CHUNK_OCTETS", 100)

    def runs(*octets: int, most: int = 3) -> list[list[int]]:
        return base.chunks([{"uid": uid, "octets": size} for uid, size in enumerate(octets, 1)], most)

    assert runs() == []
    assert runs(500) == [[1]]
    assert runs(50, 50, 1) == [[1, 2], [3]]
    assert runs(1, 500, 1) == [[1], [2], [3]]
    assert runs(1, 1, 1, 1) == [[1, 2, 3], [4]]


@pytest.mark.parametrize("needs", [Needs.CONTENT, Needs.HEADER], ids=["content", "header"])
async def test_a_missing_content_is_no_empty_message(store: Store, mail: Mail, needs: Needs) -> None:
    """A client would keep the empty one for ever."""
    await put(mail, "INBOX", range(2))
    view = await mail.open("INBOX", Ears())
    await store.database["contents"].delete_one({})
    with pytest.raises(Unavailable):
        async for _ in mail.fetch(view, [1, 2], needs):
            pass
    assert [row.uid async for rows in mail.fetch(view, [1, 2], Needs.META | Needs.ENVELOPE) for row in rows] == [1, 2]


async def test_a_missing_structure_is_no_missing_mailbox(store: Store, mail: Mail) -> None:
    await mail.append("INBOX", [NewMessage(await mail.prepare(many(2_000)))])
    view = await mail.open("INBOX", Ears())
    await store.database["contents"].delete_many({})
    with pytest.raises(Unavailable):
        async for _ in mail.fetch(view, [1], Needs.ENVELOPE):
            pass


async def test_deleting_succeeds_though_its_messages_cannot_be_archived_now(
    store: Store, principal: Principal, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    await mail.create("Box")
    await put(mail, "Box", [1])

    async def submit(_: object) -> None:
        raise Unavailable

    monkeypatch.setattr(store.committer, "submit", submit)
    await mail.delete("Box")
    monkeypatch.undo()
    assert [box.path for box in await mail.mailboxes()] == ["INBOX"]
    await store.housekeeping.archive_stubs()
    assert await store.database["archived"].count_documents({}) == 1
    assert await store.mailboxes.used(principal.user) == 0
