"""Appends that commit together do not suffer from each other; who waits in a queue waits within limits."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson.int64 import Int64
from pymongo.asynchronous.client_session import AsyncClientSession

from duckmail.errors import AlreadyExists, CommitUnknown, DuckmailError, LimitReached, OverQuota, Unavailable
from duckmail.model.account import AMPLE_ROOM, NO_QUOTA, Principal, Quota
from duckmail.model.message import Appended, FlagChange, FlagOperation, NewMessage
from duckmail.model.ranges import Ranges
from duckmail.services.mail import Mail
from storage import committer, groups
from storage.changes.append import Append, AppendGroup
from storage.changes.base import Change, Outcome, Tx
from storage.changes.remembered import Remembered
from storage.changes.store import StoreFlags
from storage.contents.prepared import PreparedContent
from storage.mailboxes import OPTIONAL, new_document, to_mailbox
from storage.mongo.client import object_id
from storage.store import Store, key
from tests.support.stores import Ears, message, new_account, open_store, put

Item = tuple[str, str, NewMessage, Quota]


async def item(store: Store, principal: Principal, number: int, flags: tuple[str, ...] = (), quota: int = 0) -> Item:
    inbox = await store.mailboxes.by_path(principal.user, "INBOX")
    new = NewMessage(await store.contents.prepare(message(number)), flags)
    return principal.user, inbox.id, new, Quota(quota)


def kinds(results: list[Appended | DuckmailError]) -> list[str]:
    return [type(result).__name__ for result in results]


async def test_keywords_beyond_the_table_fail_alone(store: Store, principal: Principal, mail: Mail) -> None:
    """Each of the two would fit by itself. Others, of other accounts, are not to hear of it."""
    bert = await new_account(store, "bert")
    names = [tuple(f"{letter}{number}" for number in range(40)) for letter in "ab"]
    items = [
        await item(store, bert, 1),
        await item(store, principal, 2, names[0]),
        await item(store, principal, 3, names[1]),
        await item(store, principal, 4, names[0]),
        await item(store, bert, 5),
    ]
    results = await store.append_many(items)
    assert kinds(results) == ["Appended", "Appended", "LimitReached", "Appended", "Appended"]
    assert isinstance(results[2], LimitReached)
    assert (await mail.mailbox("INBOX")).keywords == names[0]


async def test_one_message_too_many_takes_the_room_of_none_before_it(store: Store, principal: Principal) -> None:
    size = len(message(1))
    giant = NewMessage(await store.contents.prepare(message(9, "x" * 100_000)))
    items = [await item(store, principal, number, quota=4 * size) for number in range(6)]
    items.insert(2, (*items[0][:2], giant, Quota(4 * size)))
    results = await store.append_many(items)
    assert kinds(results) == ["Appended"] * 2 + ["OverQuota"] + ["Appended"] * 2 + ["OverQuota"] * 2
    assert await store.mailboxes.used(principal.user) == 4 * size


async def test_what_cannot_be_written_at_all_fails_alone(store: Store, principal: Principal, mail: Mail) -> None:
    """Whatever is wrong with it: here a subject that is no text."""
    items = [await item(store, principal, number) for number in range(5)]
    content = items[2][2].content
    assert isinstance(content, PreparedContent)
    content.summary = replace(content.summary, subject="\ud800")
    results = await store.append_many(items)
    assert kinds(results) == ["Appended", "Appended", "Unavailable", "Appended", "Appended"]
    assert (await mail.mailbox("INBOX")).messages == 4


async def test_a_group_has_a_limited_number_of_messages(store: Store, principal: Principal) -> None:
    """However small they are: a transaction of many thousand lasts longer than MongoDB lets it."""
    one = await item(store, principal, 1)
    await store.append_many([(one[0], one[1], replace(one[2]), NO_QUOTA) for _ in range(2_500)])
    counts = [
        row["messages"]
        async for row in await store.database["messages"].aggregate(
            [{"$group": {"_id": "$modseq", "messages": {"$sum": 1}}}]
        )
    ]
    assert sum(counts) == 2_500
    assert max(counts) <= groups.GROUP_MESSAGES


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"$set": {"subscribed": False}}, id="without-a-modseq"),
        pytest.param({"$inc": {"modseq": Int64(3), "uidnext": Int64(7)}}, id="appended-elsewhere"),
        pytest.param({"$push": {"keywords": "$Later"}}, id="new-keyword"),
        pytest.param({"$set": {"hidden": True, "specialUse": "\\Junk"}}, id="special-use"),
        pytest.param({"$set": {"encryptMessages": True}}, id="encrypted"),
        pytest.param({"$set": {"annotated": 1}}, id="annotated"),
        pytest.param({"$set": {"acl": [{"who": "anyone", "rights": "lr", "negative": False}]}}, id="shared"),
    ],
)
async def test_a_remembered_mailbox_that_changed_elsewhere_is_read_again(
    store: Store, principal: Principal, mail: Mail, change: dict[str, object]
) -> None:
    for number in (1, 2):
        await store.append_many([await item(store, principal, number)])
    ears = Ears()
    view = await mail.open("INBOX", ears)
    before = await mail.mailbox("INBOX")
    await store.database["mailboxes"].update_one({"_id": object_id(before.id)}, change)
    changed = await mail.mailbox("INBOX")
    for number in (3, 4, 5):
        results = await store.append_many([await item(store, principal, number)])
        assert isinstance(results[0], Appended)
        assert results[0].uid == changed.uidnext + number - 3
    after = await mail.mailbox("INBOX")
    assert (after.modseq, after.messages) == (changed.modseq + 3, 5)
    assert after.keywords == changed.keywords
    await mail.sync(view)
    assert view.mailbox == after
    assert len(view.uids) == 5
    mail.close_view(view, ears)


async def test_two_processes_append_to_one_mailbox_in_turns(mongo_uri: str, database_name: str) -> None:
    async with open_store(mongo_uri, database_name) as one, open_store(mongo_uri, database_name, slot="two") as two:
        anna = await new_account(one)
        uids = []
        for number in range(12):
            store = (one, two)[number // 2 % 2]
            results = await store.append_many([await item(store, anna, number)])
            assert isinstance(results[0], Appended)
            uids.append(results[0].uid)
        assert uids == list(range(1, 13))


async def test_contents_are_stored_again_when_the_commit_fails(store: Store, principal: Principal, mail: Mail) -> None:
    """They are durable only with the commit, so a retry may not count on the first attempt's."""
    prepared = await store.contents.prepare(message(1))

    async def give_up(session: AsyncClientSession) -> None:
        append = Append(
            key(principal.user, (await mail.mailbox("INBOX")).id), [(NewMessage(prepared), prepared)], NO_QUOTA
        )
        await AppendGroup([append], store.contents, Remembered()).apply(Tx(session, store.database, store.views))
        raise AlreadyExists

    with pytest.raises(AlreadyExists):
        await store.transactions.once(give_up)
    assert not prepared.inserted
    await store.database["contents"].delete_many({})  # a new primary does not have it
    await mail.append("INBOX", [NewMessage(prepared)])
    assert prepared.inserted
    assert await store.contents.load([prepared.id])


class Blocked(Change):
    """Holds its mailbox until it is let go."""

    def __init__(self, store: Store, principal: Principal, mailbox: str) -> None:
        super().__init__(key(principal.user, mailbox))
        self.begun = asyncio.Event()
        self.go = asyncio.Event()

    async def apply(self, tx: Tx) -> Outcome:
        await tx.increment(self.keys[0], {})
        self.begun.set()
        await self.go.wait()
        return Outcome(None, commit=False)


@pytest.fixture
async def blocked(store: Store, principal: Principal) -> AsyncIterator[Blocked]:
    inbox = await store.mailboxes.by_path(principal.user, "INBOX")
    change = Blocked(store, principal, inbox.id)
    waiting = asyncio.get_running_loop().create_task(store.committer.submit(change))
    await change.begun.wait()
    yield change
    change.go.set()
    await asyncio.wait([waiting])


async def test_who_hangs_up_still_counts_in_the_queue(
    store: Store, mail: Mail, blocked: Blocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a client could queue without end: append, hang up, append."""
    monkeypatch.setattr(committer, "QUEUE_LIMIT", 5)
    for number in range(4):
        task = asyncio.get_running_loop().create_task(put(mail, "INBOX", [number]))
        while store.committer._waiting < number + 2:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
    with pytest.raises(Unavailable):
        await put(mail, "INBOX", [9])
    blocked.go.set()
    while (await mail.mailbox("INBOX")).messages < 4:
        await asyncio.sleep(0.01)
    await put(mail, "INBOX", [10])


async def test_nobody_waits_for_ever_for_his_turn(
    store: Store, principal: Principal, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "QUEUE_SECONDS", 0.1)
    await put(mail, "INBOX", [1])
    view = await mail.open("INBOX", Ears())
    change = Blocked(store, principal, view.mailbox.id)
    loop = asyncio.get_running_loop()
    holder = loop.create_task(store.committer.submit(change))
    await change.begun.wait()
    flags = FlagChange(FlagOperation.ADD, ("\\Seen",))
    late = [loop.create_task(put(mail, "INBOX", [2])), loop.create_task(mail.store_flags(view, Ranges.of(1), flags))]
    await asyncio.sleep(0.3)
    change.go.set()
    await holder
    assert [type(error) for error in await asyncio.gather(*late, return_exceptions=True)] == [Unavailable] * 2
    assert await put(mail, "INBOX", [3]) == [2]


async def test_the_end_of_the_process_is_no_promise_that_nothing_happened(mongo_uri: str, database_name: str) -> None:
    """What is committing when the tasks are cancelled may be there or not; what still waited is not."""
    async with open_store(mongo_uri, database_name) as store:
        principal = await new_account(store)
        inbox = await store.mailboxes.by_path(principal.user, "INBOX")
        change = Blocked(store, principal, inbox.id)
        loop = asyncio.get_running_loop()
        holder = loop.create_task(store.committer.submit(change))
        await change.begun.wait()
        queued = loop.create_task(
            store.committer.submit(StoreFlags(change.keys[0], [1], FlagChange(FlagOperation.ADD, ())))
        )
        await asyncio.sleep(0)
        assert not await store.committer.drain(0.05)
        await store.tasks.aclose()
        with pytest.raises(CommitUnknown):
            await holder
        async with asyncio.timeout(40):
            with pytest.raises(Unavailable):
                await queued
        with pytest.raises(Unavailable):
            await store.committer.submit(change)


async def test_a_mailbox_in_heavy_use_can_be_renamed_and_deleted(
    store: Store, principal: Principal, mail: Mail
) -> None:
    box = await mail.create("Busy")
    contents = [await mail.prepare(message(number)) for number in range(8)]
    stop = False

    async def deliver(number: int) -> None:
        while not stop:
            await store.append(principal.user, box.id, [NewMessage(contents[number])], NO_QUOTA)

    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(deliver(number)) for number in range(8)]
    await asyncio.sleep(0.2)
    async with asyncio.timeout(60):
        await mail.rename("Busy", "Busier")
        await mail.rename("Busier", "Busy")
        await mail.delete("Busy")
    stop = True
    assert {type(end).__name__ for end in await asyncio.gather(*tasks, return_exceptions=True)} == {"NotFound"}
    assert [one.path for one in await mail.mailboxes()] == ["INBOX"]


async def test_over_quota_in_a_copy_holds_nothing_up(store: Store, principal: Principal, mail: Mail) -> None:
    await mail.create("Other")
    await put(mail, "INBOX", range(3))
    view = await mail.open("INBOX", Ears())
    limited = Mail(store, principal, default_quota=(await mail.mailbox("INBOX")).size)
    async with asyncio.timeout(40):
        for _ in range(20):
            with pytest.raises(OverQuota):
                await limited.copy(view, Ranges.of(1, 2, 3), "Other")
        await put(mail, "Other", [4])


async def test_names_are_octets_not_expressions(mail: Mail) -> None:
    """Renaming what is below happens in the database: nothing in a name means anything there."""
    for path in ("Zürich/$path/$$ROOT", "Zürich/ünter", "Zürichsee"):
        await mail.create(path)
    await mail.rename("Zürich", "$path")
    assert {box.path for box in await mail.mailboxes()} == {
        "INBOX",
        "$path",
        "$path/$path",
        "$path/$path/$$ROOT",
        "$path/ünter",
        "Zürichsee",
    }
    await mail.create("other/ünter")
    with pytest.raises(AlreadyExists):
        await mail.rename("$path", "other")
    assert (await mail.mailbox("$path/ünter")).path == "$path/ünter"


async def test_no_message_without_its_content(store: Store, principal: Principal, mail: Mail) -> None:
    """Contents are inserted beside the transaction: when they cannot be, it is not committed."""
    await store.append_many([await item(store, principal, 1)])  # from now on the mailbox is remembered
    await store.database.command("collMod", "contents", validator={"never": {"$exists": True}})
    [result] = await store.append_many([await item(store, principal, 2)])
    assert isinstance(result, Unavailable)
    await store.database.command("collMod", "contents", validator={})
    assert await store.database["messages"].count_documents({}) == (await mail.mailbox("INBOX")).messages == 1
    [result] = await store.append_many([await item(store, principal, 3)])
    assert isinstance(result, Appended)
    assert result.uid == 2


async def test_ample_room_is_looked_at_once_a_second(
    store: Store, principal: Principal, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not so where little more than one second's mail fits."""
    monkeypatch.setattr("storage.changes.remembered.ROOM_SECONDS", 60.0)
    await mail.create("Other")
    other = object_id((await mail.mailbox("Other")).id)

    async def append(number: int, quota: int) -> str:
        return kinds(await store.append_many([await item(store, principal, number, quota=quota)]))[0]

    for quota, expected in ((2 * AMPLE_ROOM, "Appended"), (AMPLE_ROOM - 1, "OverQuota")):
        assert await append(1, quota) == "Appended"
        full = {"size": Int64(2 * AMPLE_ROOM), "messages": Int64(1)}
        await store.database["mailboxes"].update_one({"_id": other}, {"$set": full})
        assert await append(2, quota) == expected
        assert await append(3, quota + 1) == "OverQuota"  # another quota: looked at anew
        await store.database["mailboxes"].update_one({"_id": other}, {"$set": dict.fromkeys(full, Int64(0))})


async def test_an_audit_that_begins_is_known_to_the_next_delivery(store: Store, principal: Principal) -> None:
    for number in (1, 2):
        await store.append_many([await item(store, principal, number)])
    await store.audits.create(principal.user, None, None, datetime.now(UTC) + timedelta(days=1))
    await store.append_many([await item(store, principal, 3)])
    assert await store.database["auditmails"].count_documents({}) == 1


async def test_all_that_a_mailbox_may_get_later_is_looked_for(store: Store, principal: Principal) -> None:
    """A field that is not in the list would be overlooked in a remembered mailbox."""
    looked_up: set[str] = set()

    class Noting(dict[str, Any]):
        def get(self, key: str, default: object = None) -> Any:
            looked_up.add(key)
            return super().get(key, default)

    to_mailbox(Noting(new_document(object_id(principal.user), "A", None, 1)))
    assert looked_up - {"path"} <= set(OPTIONAL)
    assert "acl" in looked_up
