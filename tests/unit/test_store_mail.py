"""The store through the one door of the edges: every change is there for everybody, counted, and nothing more is."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from bson.objectid import ObjectId

from duckmail.errors import AlreadyExists, Cannot, LimitReached, NotFound, NotPermitted, OverQuota
from duckmail.model import search
from duckmail.model.account import NO_QUOTA, Principal, Quota
from duckmail.model.flags import DELETED, FLAGGED, SEEN, to_names
from duckmail.model.message import FlagChange, FlagOperation, Needs, NewMessage
from duckmail.model.ranges import Ranges
from duckmail.services.mail import Mail
from storage.changes.prune import Prune
from storage.store import Store, key
from storage.views import Rows, View
from tests.support.stores import message, new_account, open_store, put

ALL = Ranges(((1, 4_294_967_295),))
ADD, REMOVE, REPLACE = FlagOperation.ADD, FlagOperation.REMOVE, FlagOperation.REPLACE


class Ears:
    def __init__(self) -> None:
        self.expunged: list[int] = []

    def view_changed(self, expunged: Sequence[int]) -> None:
        self.expunged += expunged


@pytest.fixture
async def store(mongo_uri: str, database_name: str, redis_url: str) -> AsyncIterator[Store]:
    async with open_store(mongo_uri, database_name, redis_url) as opened:
        yield opened


async def read(mail: Mail, view: View, needs: Needs = Needs.META | Needs.CONTENT) -> list[bytes]:
    octets = []
    async for batch in mail.fetch(view, list(view.uids), needs):
        for row in batch:
            assert row.content is not None
            octets.append(row.prefix + b"".join([piece async for piece in row.content.read()]))
    return octets


async def check_counters(store: Store, principal: Principal) -> None:
    """P4: the counters are those of the messages."""
    for mailbox in await store.mailboxes.list(principal.user):
        query = {"user": ObjectId(principal.user), "mailbox": ObjectId(mailbox.id)}
        rows = await store.database["messages"].find(query).sort("uid", 1).to_list(None)
        assert mailbox.messages == len(rows)
        assert mailbox.unseen == sum(1 for row in rows if not row["flags"] & SEEN)
        assert mailbox.deleted == sum(1 for row in rows if row["flags"] & DELETED)
        assert mailbox.size == sum(row["size"] for row in rows)
        assert all(row["uid"] < mailbox.uidnext and row["modseq"] <= mailbox.modseq for row in rows)


async def test_what_is_appended_is_there_byte_for_byte(store: Store, principal: Principal, mail: Mail) -> None:
    ears = Ears()
    view = await mail.open("inbox", ears)
    uids = await put(mail, "INBOX", range(3), ("\\Seen", "$Label"))
    assert uids == [1, 2, 3]
    assert list(view.uids) == uids
    assert to_names(view.flags[0], view.mailbox.keywords) == ("\\Seen", "$Label")
    assert await read(mail, view) == [message(number) for number in range(3)]
    await check_counters(store, principal)


async def test_prefix_belongs_to_the_message_and_its_size(mail: Mail) -> None:
    content = await mail.prepare(message(1))
    await mail.append("INBOX", [NewMessage(content, prefix=b"Return-Path: <x@y>\r\n")])
    view = await mail.open("INBOX", Ears())
    assert await read(mail, view) == [b"Return-Path: <x@y>\r\n" + message(1)]
    assert (await mail.mailbox("INBOX")).size == len(message(1)) + 20


async def test_store_changes_only_what_differs(store: Store, principal: Principal, mail: Mail) -> None:
    await put(mail, "INBOX", range(5))
    view = await mail.open("INBOX", Ears())
    first = await mail.store_flags(view, Ranges.of(2, 3), FlagChange(ADD, ("\\Seen",)))
    second = await mail.store_flags(view, ALL, FlagChange(ADD, ("\\seen", "work")))
    assert first.changed == [2, 3]
    assert second.changed == [1, 2, 3, 4, 5]
    again = await mail.store_flags(view, ALL, FlagChange(ADD, ("\\Seen", "WORK")))
    assert again.changed == []
    assert again.modseq == second.modseq == view.mailbox.modseq
    await mail.store_flags(view, Ranges.of(1), FlagChange(REPLACE, ("\\Deleted", "\\Flagged")))
    await mail.store_flags(view, Ranges.of(2), FlagChange(REMOVE, ("\\Seen",)))
    assert view.flags[0] == DELETED | FLAGGED
    assert to_names(view.flags[1], view.mailbox.keywords) == ("work",)
    await check_counters(store, principal)


async def test_unchanged_since_refuses_what_was_changed(mail: Mail) -> None:
    await put(mail, "INBOX", range(3))
    view = await mail.open("INBOX", Ears())
    before = view.mailbox.modseq
    await mail.store_flags(view, Ranges.of(2), FlagChange(ADD, ("\\Seen",)))
    result = await mail.store_flags(view, ALL, FlagChange(ADD, ("\\Flagged",), unchanged_since=before))
    assert (result.changed, result.failed) == ([1, 3], [2])
    nothing = await mail.store_flags(view, ALL, FlagChange(ADD, ("\\Draft",), unchanged_since=0))
    assert (nothing.changed, nothing.failed) == ([], [1, 2, 3])


async def test_a_full_keyword_table_changes_nothing(mail: Mail) -> None:
    await put(mail, "INBOX", [1])
    view = await mail.open("INBOX", Ears())
    names = tuple(f"k{number}" for number in range(58))
    await mail.store_flags(view, ALL, FlagChange(ADD, names))
    modseq = view.mailbox.modseq
    with pytest.raises(LimitReached):
        await mail.store_flags(view, ALL, FlagChange(ADD, ("\\Seen", "one-more")))
    assert view.mailbox.modseq == modseq
    assert to_names(view.flags[0], view.mailbox.keywords) == names
    with pytest.raises(LimitReached):
        await mail.append("INBOX", [NewMessage(await mail.prepare(message(2)), ("another",))])


async def test_expunge_archives_and_leaves_a_tombstone(store: Store, principal: Principal, mail: Mail) -> None:
    await put(mail, "INBOX", range(4))
    ears = Ears()
    view = await mail.open("INBOX", ears)
    await mail.store_flags(view, Ranges.of(1, 2, 4), FlagChange(ADD, ("\\Deleted", "kept")))
    assert await mail.expunge(view, Ranges.of(2, 3, 4)) == [2, 4]
    assert ears.expunged == [2, 4]
    assert list(view.uids) == [1, 3]
    archived = await store.database["archived"].find().to_list(None)
    assert [row["flags"] for row in archived] == [["\\Deleted", "kept"]] * 2
    tombstone = await store.database["expunged"].find_one({})
    assert tombstone is not None
    assert tombstone["uids"] == [[2, 2], [4, 4]]
    assert await mail.expunge(view) == [1]
    await check_counters(store, principal)


async def test_copy_is_new_uids_on_the_same_contents(store: Store, principal: Principal, mail: Mail) -> None:
    await mail.create("Work")
    await put(mail, "INBOX", range(3), ("\\Seen", "blue"))
    source = await mail.open("INBOX", Ears())
    ears = Ears()
    target = await mail.open("Work", ears)
    await mail.store_flags(target, ALL, FlagChange(ADD, ("other",)))
    result = await mail.copy(source, Ranges.of(1, 3, 9), "Work")
    assert (result.source, result.target) == ([1, 3], [1, 2])
    assert [to_names(mask, target.mailbox.keywords) for mask in target.flags] == [("\\Seen", "blue")] * 2
    assert await read(mail, target) == [message(0), message(2)]
    assert await store.database["contents"].count_documents({}) == 3
    await check_counters(store, principal)


async def test_move_keeps_the_message_and_maps_keywords_by_name(store: Store, principal: Principal, mail: Mail) -> None:
    await mail.create("Work")
    await put(mail, "Work", [9], ("red",))
    await put(mail, "INBOX", range(2), ("blue",))
    await put(mail, "INBOX", range(2, 4), ("\\Flagged",))
    ears = Ears()
    source = await mail.open("INBOX", ears)
    target = await mail.open("Work", Ears())
    before = {row["emailid"] async for row in store.database["messages"].find()}
    result = await mail.move(source, Ranges.of(1, 2, 4), "Work")
    assert (result.source, result.target) == ([1, 2, 4], [2, 3, 4])
    assert ears.expunged == [1, 2, 4]
    names = [to_names(mask, target.mailbox.keywords) for mask in target.flags]
    assert names == [("red",), ("blue",), ("blue",), ("\\Flagged",)]
    assert await read(mail, target) == [message(9), message(0), message(1), message(3)]
    assert {row["emailid"] async for row in store.database["messages"].find()} == before
    await check_counters(store, principal)


async def test_move_within_one_mailbox_gives_new_uids(store: Store, principal: Principal, mail: Mail) -> None:
    await put(mail, "INBOX", range(3))
    view = await mail.open("INBOX", Ears())
    result = await mail.move(view, Ranges.of(1, 2), "INBOX")
    assert result.target == [4, 5]
    assert list(view.uids) == [3, 4, 5]
    assert await read(mail, view) == [message(2), message(0), message(1)]
    await check_counters(store, principal)


async def test_large_sets_go_in_many_transactions(store: Store, principal: Principal, mail: Mail) -> None:
    await mail.create("Big")
    content = await mail.prepare(message(0))
    for _ in range(3):
        await mail.append("INBOX", [NewMessage(content)] * 800)
    view = await mail.open("INBOX", Ears())
    result = await mail.store_flags(view, ALL, FlagChange(ADD, ("\\Seen", "\\Deleted")))
    assert len(result.changed) == 2400
    copied = await mail.copy(view, ALL, "Big")
    assert copied.target == list(range(1, 2401))
    assert await store.database["undos"].count_documents({}) == 0
    moved = await mail.move(view, Ranges(((1, 1500),)), "Big")
    assert moved.target == list(range(2401, 3901))
    assert len(await mail.expunge(view)) == 900
    await check_counters(store, principal)


async def test_a_failed_large_copy_is_taken_back(store: Store, principal: Principal, mail: Mail) -> None:
    await mail.create("Big")
    content = await mail.prepare(message(0))
    for _ in range(3):
        await mail.append("INBOX", [NewMessage(content)] * 1000)
    size = (await mail.mailbox("INBOX")).size
    limited = Mail(store, principal, default_quota=int(size * 1.9))
    view = await limited.open("INBOX", Ears())
    with pytest.raises(OverQuota):
        await limited.copy(view, ALL, "Big")
    assert (await mail.mailbox("Big")).messages == 0
    assert await store.database["undos"].count_documents({}) == 0
    await check_counters(store, principal)


async def test_quota_is_the_sum_of_all_mailboxes(store: Store, principal: Principal) -> None:
    size = len(message(1))
    mail = Mail(store, principal, default_quota=size * 2)
    await mail.create("Other")
    await put(mail, "INBOX", [1])
    await put(mail, "Other", [2])
    with pytest.raises(OverQuota):
        await put(mail, "INBOX", [3])
    assert await store.mailboxes.used(principal.user) == size * 2
    await check_counters(store, principal)


async def test_a_group_isolates_its_failures(store: Store, principal: Principal, mail: Mail) -> None:
    inbox = await mail.mailbox("INBOX")
    content = await mail.prepare(message(1))
    items = [(principal.user, inbox.id, NewMessage(content), NO_QUOTA) for _ in range(20)]
    items[3] = (principal.user, "f" * 24, NewMessage(content), NO_QUOTA)
    items[7] = (principal.user, inbox.id, NewMessage(content), Quota(1))
    results = await store.append_many(items)
    assert isinstance(results[3], NotFound)
    assert isinstance(results[7], OverQuota)
    assert sorted(result.uid for result in results if not isinstance(result, Exception))  # type: ignore[union-attr]
    assert (await mail.mailbox("INBOX")).messages == 18
    await check_counters(store, principal)


async def test_a_delivery_is_stored_once(store: Store, principal: Principal, mail: Mail) -> None:
    inbox = await mail.mailbox("INBOX")
    new = NewMessage(await mail.prepare(message(1)), delivery_key=b"k" * 32)
    other = NewMessage(await mail.prepare(message(2)), delivery_key=b"o" * 32)
    first = (await store.append_many([(principal.user, inbox.id, new, NO_QUOTA)]))[0]
    again = await store.append_many([(principal.user, inbox.id, one, NO_QUOTA) for one in (new, other, new)])
    assert [getattr(result, "duplicate", None) for result in again] == [True, False, True]
    assert getattr(first, "id", 1) == getattr(again[0], "id", 2)
    assert (await mail.mailbox("INBOX")).messages == 2


async def test_two_processes_see_each_other(
    store: Store, principal: Principal, mail: Mail, mongo_uri: str, database_name: str, redis_url: str
) -> None:
    async with open_store(mongo_uri, database_name, redis_url, slot="other") as other_store:
        other = Mail(other_store, principal)
        ears = Ears()
        there = await other.open("INBOX", ears)
        here = await mail.open("INBOX", Ears())
        await put(mail, "INBOX", range(3))
        async with asyncio.timeout(40):
            while len(there.uids) < 3:
                await asyncio.sleep(0.01)
        await other.store_flags(there, ALL, FlagChange(ADD, ("\\Deleted",)))
        await mail.sync(here)
        assert all(mask & DELETED for mask in here.flags)
        await asyncio.gather(
            *(put(box, "INBOX", range(10)) for box in (mail, other, mail, other)),
            mail.expunge(here, Ranges.of(1, 2)),
        )
        await mail.sync(here)
        await other.sync(there)
        assert list(here.uids) == list(there.uids) == [3, *range(4, 44)]
        assert list(here.modseqs) == list(there.modseqs)
        await check_counters(store, principal)


async def test_mailboxes_are_made_renamed_and_deleted(store: Store, principal: Principal, mail: Mail) -> None:
    await mail.create("a/b/c")
    assert [box.path for box in await mail.mailboxes()] == ["INBOX", "a", "a/b", "a/b/c"]
    with pytest.raises(AlreadyExists):
        await mail.create("a/b")
    await put(mail, "a/b/c", [1])
    await mail.rename("a/b", "x/y")
    assert [box.path for box in await mail.mailboxes()] == ["INBOX", "a", "x", "x/y", "x/y/c"]
    ears = Ears()
    view = await mail.open("x/y/c", ears)
    await mail.delete("x/y/c")
    await mail.sync(view)
    assert view.gone
    with pytest.raises(NotFound):
        await put(mail, "x/y/c", [2])
    assert await store.database["archived"].count_documents({}) == 1
    again = await mail.create("x/y/c")
    assert again.uidvalidity > view.mailbox.uidvalidity
    for call in (mail.delete("INBOX"), mail.rename("x", "x/z")):
        with pytest.raises(Cannot):
            await call
    await put(mail, "INBOX", [1, 2])
    await mail.rename("INBOX", "Old")
    assert (await mail.mailbox("Old")).messages == 2
    assert (await mail.mailbox("INBOX")).messages == 0
    await check_counters(store, principal)


async def test_nobody_reaches_another_account(store: Store, mail: Mail) -> None:
    other = Mail(store, await new_account(store, "bert"))
    await put(mail, "INBOX", [1])
    view = await mail.open("INBOX", Ears())
    with pytest.raises(NotPermitted):
        await other.store_flags(view, ALL, FlagChange(ADD, ("\\Seen",)))
    with pytest.raises(NotPermitted):
        [batch async for batch in other.fetch(view, [1], Needs.META)]
    with pytest.raises(NotPermitted):
        await other.expunge(view)


async def test_pruned_tombstones_cost_a_rebuild_not_a_wrong_view(
    store: Store, principal: Principal, mail: Mail
) -> None:
    await put(mail, "INBOX", range(4))
    ears = Ears()
    view = await mail.open("INBOX", ears)
    mail.close_view(view, ears)
    stale = View(view.mailbox, _copy(view))
    stale.attach(ears)
    listener = Ears()
    live = await mail.open("INBOX", listener)
    await mail.store_flags(live, Ranges.of(2), FlagChange(ADD, ("\\Deleted",)))
    await mail.expunge(live)
    await store.committer.submit(Prune(key(principal.user, view.mailbox.id), datetime.now(UTC) + timedelta(1)))
    assert await store.database["expunged"].count_documents({}) == 0
    assert (await mail.mailbox("INBOX")).vanishedfloor == live.mailbox.modseq
    cache = store.views._entries[principal.user, view.mailbox.id]
    cache.view = stale
    await mail.sync(stale)
    assert list(stale.uids) == [1, 3, 4]
    assert ears.expunged == [2]


def _copy(view: View) -> Rows:
    return Rows(view.uids[:], view.flags[:], view.modseqs[:])


async def test_search_has_true_boolean_semantics(mail: Mail) -> None:
    await put(mail, "INBOX", range(12))
    view = await mail.open("INBOX", Ears())
    await mail.store_flags(view, Ranges.of(1, 2, 3), FlagChange(ADD, ("\\Seen",)))
    await mail.store_flags(view, Ranges.of(3, 4), FlagChange(ADD, ("\\Flagged",)))
    seen, flagged = search.Flag("\\Seen"), search.Flag("\\flagged")
    subject = search.Header("subject", "NUMBER 1")
    cases: list[tuple[search.Node, list[int]]] = [
        (search.Or((seen, flagged)), [1, 2, 3, 4]),
        (search.Not(search.Or((seen, flagged))), list(range(5, 13))),
        (search.And((seen, search.Not(flagged))), [1, 2]),
        (subject, [2, 11, 12]),
        (search.And((subject, seen)), [2]),
        (search.Or((search.Body("hello 3"), search.And((flagged, seen)))), [3, 4]),
        (search.Not(search.Text("number 1")), [1, *range(3, 11)]),
        (search.Header("message-id", "<5@"), [6]),
        (search.Header("x-none", ""), []),
        (search.Header("from", "sender 2 <s2@"), [3]),
        (search.Size(larger=10_000), []),
        (search.Uids(Ranges(((4, 99),))), list(range(4, 13))),
    ]
    for node, expected in cases:
        assert await mail.search(view, node) == expected, node


async def test_search_finds_what_lies_across_pieces_of_a_long_text(mail: Mail) -> None:
    text = "\r\n".join("Zürich " * 8 for _ in range(9_000))
    raw = b"Subject: long\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + text.encode() + b"\r\n"
    await mail.append("INBOX", [NewMessage(await mail.prepare(raw))])
    view = await mail.open("INBOX", Ears())
    for needle in ("zürich\x20zürich", text[65_500:65_600], text[131_000:131_100].upper()):
        assert await mail.search(view, search.Body(needle)) == [1]
    assert await mail.search(view, search.Body("zürich basel")) == []
