"""What is brought to its end after a crash, and what ages; none of it is stopped by something that fails."""

import asyncio
from datetime import timedelta

import pytest
from bson.objectid import ObjectId

from duckmail.errors import LimitReached, OverQuota, Unavailable
from duckmail.model.account import NO_QUOTA, Principal
from duckmail.model.message import CopyResult, FlagChange, FlagOperation, NewMessage
from duckmail.model.ranges import Ranges
from duckmail.services.mail import Mail
from storage import housekeeping, mailboxes
from storage.changes import base
from storage.changes.copy import Copy
from storage.fsck import check
from storage.housekeeping import KEEP_ARCHIVED, KEEP_TOMBSTONES
from storage.store import Store, key
from tests.support.stores import Ears, message, open_store, put

ALL = Ranges(((1, 4_294_967_295),))
DELETE = FlagChange(FlagOperation.ADD, ("\\Deleted",))


async def fill(mail: Mail, path: str, count: int) -> None:
    content = await mail.prepare(message(0))
    for start in range(0, count, 1000):
        await mail.append(path, [NewMessage(content)] * min(1000, count - start))


async def age(store: Store, collection: str, field: str, by: timedelta) -> None:
    """Makes everything there that much older."""
    await store.database[collection].update_many(
        {field: {"$exists": True}}, [{"$set": {field: {"$subtract": [f"${field}", by // timedelta(milliseconds=1)]}}}]
    )


async def test_pruned_tombstones_cost_a_rebuild(
    store: Store, principal: Principal, mail: Mail, mongo_uri: str, database_name: str
) -> None:
    """Another process's view that slept through expunge and pruning is right again after a sync, and says what went."""
    await put(mail, "INBOX", range(6))
    ears = Ears()
    async with open_store(mongo_uri, database_name, slot="other") as other:
        there = Mail(other, principal)
        view = await there.open("INBOX", ears)
        here = await mail.open("INBOX", Ears())
        await mail.store_flags(here, Ranges.of(2, 5), DELETE)
        await mail.expunge(here)
        await age(store, "expunged", "at", KEEP_TOMBSTONES)
        await mail.store_flags(here, Ranges.of(3), DELETE)
        await mail.expunge(here)
        await store.housekeeping.prune_tombstones()
        assert await store.database["expunged"].count_documents({}) == 1
        mailbox = await mail.mailbox("INBOX")
        assert view.mailbox.modseq < mailbox.vanishedfloor < mailbox.modseq
        await there.sync(view)
        assert list(view.uids) == [1, 4, 6]
        assert list(zip(view.flags, view.modseqs, strict=True)) == list(zip(here.flags, here.modseqs, strict=True))
        assert ears.expunged == [2, 3, 5]
        assert view.changed_since(mailbox.modseq - 1) == []
        there.close_view(view, ears)


async def test_only_old_tombstones_are_pruned(store: Store, mail: Mail) -> None:
    await put(mail, "INBOX", range(2))
    view = await mail.open("INBOX", Ears())
    await mail.store_flags(view, ALL, DELETE)
    await mail.expunge(view)
    await age(store, "expunged", "at", KEEP_TOMBSTONES - timedelta(minutes=1))
    await store.housekeeping.prune_tombstones()
    assert await store.database["expunged"].count_documents({}) == 1
    assert (await mail.mailbox("INBOX")).vanishedfloor == 0


async def test_a_large_deleted_mailbox_is_archived_in_pieces(
    store: Store, principal: Principal, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By number and by size; a process that died before the end leaves it to the next one."""
    await mail.create("Big")
    await fill(mail, "Big", 2_300)
    stub = await store.mailboxes.bury(principal.user, "Big")
    assert await store.committer.submit(housekeeping.ArchiveStub(key(principal.user, stub.id)))
    assert await store.database["archived"].count_documents({}) == 1_000
    assert await check(store) == []
    monkeypatch.setattr(base, "CHUNK_OCTETS", 500_000)
    assert await store.committer.submit(housekeeping.ArchiveStub(key(principal.user, stub.id)))
    assert 1_000 < await store.database["archived"].count_documents({}) < 2_000
    await store.housekeeping.archive_stubs()
    assert await store.database["archived"].count_documents({}) == 2_300
    assert await store.database["messages"].count_documents({}) == 0
    assert await store.mailboxes.used(principal.user) == 0
    assert await check(store) == []


async def test_a_copy_whose_process_died_is_taken_back(
    store: Store, principal: Principal, mail: Mail, mongo_uri: str, database_name: str
) -> None:
    await mail.create("Copies")
    await put(mail, "Copies", [1])
    await put(mail, "INBOX", range(5))
    inbox, copies = await mail.mailbox("INBOX"), await mail.mailbox("Copies")
    keys = key(principal.user, inbox.id), key(principal.user, copies.id)
    async with open_store(mongo_uri, database_name, slot="dying") as dying:
        record = housekeeping.new_undo(keys[1], dying.lease.id)
        await store.database["undos"].insert_one(record)
        for uids in ([1, 2], [3]):
            done: CopyResult = await dying.committer.submit(Copy(*keys, uids, NO_QUOTA, record["_id"]))
            assert len(done.source) == len(uids)
        await store.housekeeping.take_back()
        assert (await mail.mailbox("Copies")).messages == 4, "its owner lives"
        next(task for task in dying.tasks._running if "lease" in task.get_name()).cancel()
        await store.database["leases"].delete_one({"_id": dying.lease.id})
        await store.housekeeping.take_back()
        view = await mail.open("Copies", Ears())
        assert list(view.uids) == [1]
        assert await store.database["undos"].count_documents({}) == 0
        assert await store.database["archived"].count_documents({}) == 0, "nobody asked to keep what was never there"
        with pytest.raises(Unavailable):
            await dying.committer.submit(Copy(*keys, [4], NO_QUOTA, record["_id"]))
        assert await check(store) == []


async def test_a_large_copy_that_fails_leaves_nothing(store: Store, principal: Principal, mail: Mail) -> None:
    await mail.create("Big")
    await fill(mail, "INBOX", 2_500)
    limited = Mail(store, principal, default_quota=int((await mail.mailbox("INBOX")).size * 1.9))
    view = await limited.open("INBOX", Ears())
    with pytest.raises(OverQuota):
        await limited.copy(view, ALL, "Big")
    assert (await mail.mailbox("Big")).messages == 0
    assert await store.database["undos"].count_documents({}) == 0


async def test_stubs_go_when_nothing_tells_of_them_any_more(store: Store, mail: Mail) -> None:
    for path in ("empty", "told", "young"):
        await mail.create(path)
    await put(mail, "told", [1])
    view = await mail.open("told", Ears())
    await mail.store_flags(view, ALL, DELETE)
    await mail.expunge(view)
    await mail.delete("empty")
    await mail.delete("told")
    await age(store, "mailboxes", "gone", KEEP_TOMBSTONES + timedelta(days=1))
    await mail.delete("young")
    await store.housekeeping.drop_stubs()
    assert {row["was"] async for row in store.database["mailboxes"].find({"gone": {"$exists": True}})} == {
        "told",
        "young",
    }
    await age(store, "expunged", "at", KEEP_TOMBSTONES)
    await store.housekeeping.prune_tombstones()
    await store.housekeeping.drop_stubs()
    assert [row["was"] async for row in store.database["mailboxes"].find({"gone": {"$exists": True}})] == ["young"]
    assert await check(store) == []


async def test_deleted_mailboxes_do_not_use_up_the_number_one_may_have(
    mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailboxes, "MAX_MAILBOXES", 3)
    monkeypatch.setattr(mailboxes, "MAX_STUBS", 5)
    await mail.create("kept")
    for _ in range(5):
        await mail.create("short-lived")
        await mail.delete("short-lived")
    with pytest.raises(LimitReached):
        await mail.create("one too many in all")


async def test_archived_messages_are_dropped_when_they_are_old(store: Store, mail: Mail) -> None:
    await put(mail, "INBOX", range(3))
    view = await mail.open("INBOX", Ears())
    for uids in (Ranges.of(1), Ranges.of(2)):
        await mail.store_flags(view, uids, DELETE)
        await mail.expunge(view)
        await age(store, "archived", "archived", KEEP_ARCHIVED / 2 + timedelta(minutes=1))
    await store.housekeeping.drop_archived()
    assert await store.database["archived"].count_documents({}) == 1


async def test_what_fails_keeps_nothing_else_from_being_done(
    store: Store, principal: Principal, mail: Mail, caplog: pytest.LogCaptureFixture
) -> None:
    for path in ("broken", "whole"):
        await mail.create(path)
        await put(mail, path, [1])
        await store.mailboxes.bury(principal.user, path)
    await store.database["mailboxes"].update_one({"was": "broken"}, {"$set": {"keywords": "damaged"}})
    await store.database["messages"].update_one({}, {"$set": {"flags": "damaged"}})
    await store.housekeeping.once()
    assert await store.database["archived"].count_documents({}) == 1
    assert "archiving a deleted mailbox failed" in caplog.text


async def test_a_process_that_stalled_gets_its_lease_back(store: Store, mongo_uri: str, database_name: str) -> None:
    """Others took it for dead. Without a lease nobody would end its sessions when it really dies."""
    before = await store.database["leases"].find_one({"_id": store.lease.id})
    assert before is not None
    await store.database["leases"].delete_one({"_id": store.lease.id})
    async with asyncio.timeout(60):
        while (now := await store.database["leases"].find_one({"_id": store.lease.id})) is None:
            await asyncio.sleep(0.05)
    assert {name: now[name] for name in ("slot", "sessions")} == {name: before[name] for name in ("slot", "sessions")}
    assert isinstance(now["_id"], ObjectId)
