"""fsck: every damage is found, what can be recounted is put right, and a store in use has no differences."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import pytest
from bson.int64 import Int64
from bson.objectid import ObjectId

from duckmail.model.account import Principal
from duckmail.model.message import FlagChange, FlagOperation, NewMessage
from duckmail.model.ranges import Ranges
from duckmail.services.mail import Mail
from storage.fsck import Fsck, check
from storage.mongo.client import Database, Document
from storage.store import Store
from tests.support.contents import attachment, multipart, octets, plain
from tests.support.stores import message, new_account, open_store, put

ALL = Ranges(((1, 4_294_967_295),))
ADD = FlagOperation.ADD
UNIQUE_UID = [("user", 1), ("mailbox", 1), ("uid", 1)]


class Silent:
    def view_changed(self, expunged: Sequence[int]) -> None: ...


@dataclass(frozen=True)
class Filled:
    store: Store
    principal: Principal
    mail: Mail

    @property
    def database(self) -> Database:
        return self.store.database

    @property
    def inbox(self) -> Document:
        return {"user": ObjectId(self.principal.user), "path": "INBOX"}


async def fill(store: Store) -> Principal:
    """INBOX: UIDs 1, 2, 4, 5 (3 expunged), one with a large attachment; Work: two copies; one deleted mailbox."""
    principal = await new_account(store)
    mail = Mail(store, principal)
    await put(mail, "INBOX", range(4), ("\\Seen", "blue"))
    large = multipart(plain("hello"), attachment(octets(700_000)))
    await mail.append("INBOX", [NewMessage(await mail.prepare(large), prefix=b"Return-Path: <a@b>\r\n")])
    view = await mail.open("INBOX", Silent())
    await mail.store_flags(view, Ranges.of(3), FlagChange(ADD, ("\\Deleted",)))
    await mail.expunge(view)
    await mail.create("Work")
    await mail.copy(view, Ranges.of(1, 5), "Work")
    await mail.create("Gone")
    await put(mail, "Gone", [9])
    await mail.delete("Gone")
    return principal


@dataclass(frozen=True)
class Filling:
    """A filled database, and all that was in it."""

    name: str
    principal: Principal
    documents: dict[str, list[Document]]


@pytest.fixture(scope="module")
async def filling(mongo_uri: str) -> AsyncIterator[Filling]:
    name = f"t_fsck_{ObjectId()}"
    async with open_store(mongo_uri, name) as store:
        principal = await fill(store)
        names = [each for each in await store.database.list_collection_names() if each not in ("leases", "schema")]
        documents = {each: await store.database[each].find().to_list(None) for each in names}
        yield Filling(name, principal, documents)
        await store.client.drop_database(name)


@pytest.fixture
async def filled(mongo_uri: str, filling: Filling) -> AsyncIterator[Filled]:
    """The same database for every test, as it was before the first."""
    async with open_store(mongo_uri, filling.name, slot="fsck") as store:
        for name, documents in filling.documents.items():
            await store.database[name].delete_many({})
            if documents:
                await store.database[name].insert_many(documents)
        await store.database["messages"].create_index(UNIQUE_UID, unique=True)
        yield Filled(store, filling.principal, Mail(store, filling.principal))


async def found(store: Store, **options: bool) -> list[str]:
    return [str(difference) for difference in await check(store, **options)]


async def test_a_sound_store_has_no_differences(filled: Filled) -> None:
    run = Fsck(filled.store, deep=True)
    assert [difference async for difference in run.run()] == []
    counts = run.counts
    assert (counts.accounts, counts.mailboxes, counts.messages, counts.archived) == (1, 3, 6, 2)
    assert (counts.contents, counts.parts) == (6, 1)
    assert (counts.unnamed_contents, counts.unnamed_parts, counts.unnamed_files) == (0, 0, 0)


async def test_an_empty_store_has_no_differences(store: Store) -> None:
    assert await found(store, deep=True) == []


async def test_what_nobody_names_is_counted_only(filled: Filled) -> None:
    await filled.store.contents.prepare(multipart(plain("x"), attachment(octets(300_000, seed=7))))
    prepared = await filled.store.contents.prepare(message(77))
    await filled.store.contents.insert_many([prepared])
    await filled.database["texts"].insert_one({"_id": ObjectId(), "header": "", "text": ""})
    await filled.database["blobs.files"].insert_one({"_id": ObjectId(), "length": Int64(1)})
    run = Fsck(filled.store)
    assert [difference async for difference in run.run()] == []
    counts = run.counts
    unnamed = (counts.unnamed_contents, counts.unnamed_texts, counts.unnamed_parts, counts.unnamed_files)
    assert unnamed == (1, 1, 1, 1)


Damage = Callable[[Filled], Awaitable[object]]


def on_inbox(**fields: object) -> Damage:
    return lambda filled: filled.database["mailboxes"].update_one(filled.inbox, {"$set": fields})


def on_message(uid: int, **fields: object) -> Damage:
    async def damage(filled: Filled) -> None:
        inbox = await filled.mail.mailbox("INBOX")
        query = {"mailbox": ObjectId(inbox.id), "uid": uid}
        assert (await filled.database["messages"].update_one(query, {"$set": fields})).modified_count == 1

    return damage


def on_any(collection: str, update: Document, **query: object) -> Damage:
    async def damage(filled: Filled) -> None:
        assert (await filled.database[collection].update_one(query, update)).modified_count == 1

    return damage


async def bury_a_living_one(filled: Filled) -> None:
    await filled.database["expunged"].update_one({}, {"$push": {"uids": [Int64(4), Int64(5)]}})


async def add_twin(filled: Filled) -> None:
    await filled.database["messages"].drop_index(UNIQUE_UID)
    inbox = ObjectId((await filled.mail.mailbox("INBOX")).id)
    row = await filled.database["messages"].find_one({"mailbox": inbox, "uid": 4})
    assert row is not None
    await filled.database["messages"].insert_one({**row, "_id": ObjectId(), "size": Int64(0)})


REPAIRABLE: list[tuple[str, Damage, str]] = [
    ("messages-counter", on_inbox(messages=Int64(7)), "anna INBOX: messages: 7, should be 4"),
    ("unseen-counter", on_inbox(unseen=Int64(-1)), "anna INBOX: unseen: -1, should be 1"),
    ("deleted-counter", on_inbox(deleted=Int64(3)), "anna INBOX: deleted: 3, should be 0"),
    ("size-counter", on_inbox(size=Int64(0)), "anna INBOX: size: 0, should be"),
    ("counter-of-another-type", on_inbox(unseen=1.0), "anna INBOX: unseen: 1.0, should be 1"),
    ("uidnext", on_inbox(uidnext=Int64(5)), "anna INBOX: UIDNEXT not above all UIDs: 5, should be at least 6"),
    ("recentuid", on_inbox(recentuid=Int64(60)), "anna INBOX: recentuid above UIDNEXT: 60, should be at most 6"),
    ("modseq", on_inbox(modseq=Int64(3)), "anna INBOX: modseq below that of a change: 3, should be at least"),
    ("modseq-of-a-message", on_message(2, modseq=Int64(99)), "modseq below that of a change"),
    ("flags-changed-aside", on_message(5, flags=Int64(8)), "anna INBOX: unseen: 1, should be 0"),
    ("flags-beyond-the-table", on_message(2, flags=Int64(1 << 40 | 8)), "uid 2: flags beyond the keyword table"),
    ("negative-flags", on_message(2, flags=Int64(-1)), "uid 2: flags beyond the keyword table: -1"),
    ("double-flags", on_message(2, flags=8.0), "uid 2: numbers that are not 64-bit integers"),
    ("text-for-size", on_message(2, size="many"), "uid 2: numbers that are not 64-bit integers"),
    ("size-of-a-message", on_message(5, size=Int64(5)), "anna INBOX uid 5: size: 5, should be"),
]


@pytest.mark.parametrize(("damage", "expected"), [pytest.param(*row[1:], id=row[0]) for row in REPAIRABLE])
async def test_wrong_numbers_are_found_and_repaired(filled: Filled, damage: Damage, expected: str) -> None:
    await damage(filled)
    differences = await found(filled.store)
    assert any(expected in difference for difference in differences), differences
    repaired = await found(filled.store, repair=True)
    assert len(repaired) == len(differences)
    assert all(difference.endswith("(repaired)") for difference in repaired)
    assert await found(filled.store, deep=True) == []
    # What was repaired goes on working.
    await put(filled.mail, "INBOX", [50])
    assert await found(filled.store) == []


async def change_the_framing(filled: Filled) -> None:
    query = {"parts": {"$exists": True}}
    row = await filled.database["contents"].find_one(query)
    assert row is not None
    for segment in row["segments"]:
        if isinstance(segment, dict):
            segment["line"] = 72
    await filled.database["contents"].update_one(query, {"$set": {"segments": row["segments"]}})


LOST: list[tuple[str, Damage, str]] = [
    ("live-and-expunged", bury_a_living_one, "anna INBOX uid 4: is there, and expunged by a tombstone"),
    ("uid-twice", add_twin, "anna INBOX uid 4: UID is not one, or there twice"),
    ("message-without-content", on_message(2, content=ObjectId()), "anna INBOX uid 2: its content does not exist"),
    ("message-without-mailbox", on_message(2, mailbox=ObjectId()), ": its mailbox does not exist"),
    ("message-of-nobody", on_message(2, user=ObjectId()), ": its mailbox does not exist"),
    (
        "archived-without-content",
        on_any("archived", {"$set": {"content": ObjectId()}}),
        ": its content does not exist",
    ),
    (
        "tombstone-without-mailbox",
        on_any("expunged", {"$set": {"mailbox": ObjectId()}}),
        ": its mailbox does not exist",
    ),
    ("mailbox-of-nobody", lambda f: f.database["users"].delete_many({}), "INBOX: its account does not exist"),
    ("no-inbox", on_inbox(path="Inbox"), "account anna: has no INBOX"),
    ("uidvalidity", on_inbox(uidvalidity=Int64(10**9)), "anna INBOX: UIDVALIDITY above the account's counter"),
    ("keyword-twice", on_inbox(keywords=["blue", "Blue"]), "anna INBOX: keyword table"),
    (
        "main-address",
        on_any("users", {"$set": {"address": "anna@example.com"}}),
        "account anna: its main address is not its own: anna@example.com",
    ),
    (
        "address-of-nobody",
        lambda f: f.database["addresses"].insert_one({"user": ObjectId(), "address": "x@y", "addrview": "x@y"}),
        "address x@y: belongs to an account that does not exist",
    ),
    (
        "content-size",
        on_any("contents", {"$inc": {"size": Int64(1)}}, parts={"$exists": True}),
        "size is not that of its segments",
    ),
    ("content-header-size", on_any("contents", {"$inc": {"headersize": Int64(1)}}), ": header size"),
    (
        "content-parts-list",
        on_any("contents", {"$unset": {"parts": 1}}, parts={"$exists": True}),
        "names a part that its list of parts lacks",
    ),
    ("framing", change_the_framing, ": framing of a part"),
    ("part-missing", lambda f: f.database["parts"].delete_many({}), ": its part does not exist"),
    ("part-length", on_any("parts", {"$inc": {"length": Int64(1)}}), ": length of part"),
    ("file-missing", lambda f: f.database["blobs.files"].delete_many({}), ": its file does not exist"),
    ("file-length", on_any("blobs.files", {"$inc": {"length": Int64(1)}}), ": length of its file"),
    ("chunk-missing", lambda f: f.database["blobs.chunks"].delete_one({"n": 1}), ": chunks of its file: 2 up to"),
    (
        "chunk-without-file",
        lambda f: f.database["blobs.chunks"].insert_one({"files_id": ObjectId(), "n": 0, "data": b""}),
        ": the file does not exist",
    ),
]


@pytest.mark.parametrize(("damage", "expected"), [pytest.param(*row[1:], id=row[0]) for row in LOST])
async def test_what_cannot_be_recounted_is_reported(filled: Filled, damage: Damage, expected: str) -> None:
    await damage(filled)
    differences = await found(filled.store)
    assert any(expected in difference for difference in differences), differences
    assert any(expected in difference for difference in await found(filled.store, repair=True))


async def flip_an_octet(filled: Filled) -> None:
    chunk = await filled.database["blobs.chunks"].find_one({"n": 1})
    assert chunk is not None
    data = bytes([chunk["data"][0] ^ 1]) + chunk["data"][1:]
    await filled.database["blobs.chunks"].update_one({"_id": chunk["_id"]}, {"$set": {"data": data}})


async def shorten_a_chunk(filled: Filled) -> None:
    await filled.database["blobs.chunks"].update_one({"n": 1}, {"$set": {"data": b"short"}})


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        pytest.param(flip_an_octet, "octets have another hash", id="octet-flipped"),
        pytest.param(shorten_a_chunk, "octets of its chunks", id="chunk-shortened"),
    ],
)
async def test_only_deep_reads_the_octets(filled: Filled, damage: Damage, expected: str) -> None:
    await damage(filled)
    assert await found(filled.store) == []
    differences = await found(filled.store, deep=True)
    assert any(expected in difference for difference in differences), differences


async def test_a_store_in_use_has_no_differences(filled: Filled) -> None:
    """Snapshots: whatever is committed between two reads of a check does not show."""
    mail, stop = filled.mail, asyncio.Event()

    async def work(path: str, base: int) -> None:
        listener = Silent()
        view = await mail.open(path, listener)
        number = base
        while not stop.is_set():
            raw = multipart(plain(f"{number}"), attachment(octets(150_000, seed=number)))
            await mail.append(path, [NewMessage(await mail.prepare(raw))])
            await put(mail, path, [number, number + 1])
            await mail.store_flags(view, Ranges.of(*view.uids[:2]), FlagChange(ADD, ("\\Deleted", f"k{number % 40}")))
            await mail.move(view, Ranges.of(*view.uids[-1:]), "Work")
            await mail.expunge(view)
            number += 10

    await mail.create("Other")
    workers = [asyncio.ensure_future(work(path, base)) for path, base in (("INBOX", 1000), ("Other", 5000))]  # noqa: TID251
    try:
        for _ in range(4):
            assert await found(filled.store, deep=True) == []
    finally:
        stop.set()
        await asyncio.gather(*workers)
    assert await found(filled.store, deep=True, repair=True) == []


async def test_repair_beside_a_writer_leaves_no_difference(filled: Filled) -> None:
    """The recount runs in the mailbox's own order of changes: what is appended meanwhile is counted once."""
    for round_ in range(5):
        await on_inbox(messages=Int64(0), size=Int64(1), unseen=Int64(77))(filled)
        await asyncio.gather(
            check(filled.store, repair=True), *(put(filled.mail, "INBOX", [round_ * 10 + n]) for n in range(10))
        )
        assert await found(filled.store) == []


async def test_sessions_see_what_was_repaired(filled: Filled) -> None:
    view = await filled.mail.open("INBOX", Silent())
    await on_message(2, flags=Int64(1 << 30 | 8))(filled)
    await check(filled.store, repair=True)
    await filled.mail.sync(view)
    assert view.flags[view.position(2)] == 8
    assert view.modseqs[view.position(2)] == view.mailbox.modseq


async def test_no_query_about_an_account_reads_all_mailboxes(filled: Filled) -> None:
    """Quota is asked for with every append, over living and deleted mailboxes."""
    query = {"find": "mailboxes", "filter": {"user": {"$in": [ObjectId(filled.principal.user)]}}}
    plan = await filled.database.command({"explain": query, "verbosity": "queryPlanner"})
    assert "COLLSCAN" not in str(plan["queryPlanner"]["winningPlan"])
