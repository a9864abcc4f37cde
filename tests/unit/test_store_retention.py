"""Mail that has been in its mailbox for longer than the mailbox keeps it goes to the archive, and no other."""

from datetime import timedelta

import pytest

from duckmail.model.account import Principal
from duckmail.model.mailbox import MailboxChanges
from duckmail.model.ranges import Ranges
from duckmail.services.mail import Mail
from storage import retention
from storage.changes import base
from storage.fsck import check
from storage.store import Store
from tests.support.stores import Ears, new_account, put

DAY = timedelta(days=1)
DAY_MS = 86_400_000


async def age(store: Store, by: timedelta) -> None:
    """Makes all messages that there are so much older."""
    milliseconds = by // timedelta(milliseconds=1)
    await store.database["messages"].update_many(
        {}, [{"$set": {"savedate": {"$subtract": ["$savedate", milliseconds]}}}]
    )


async def keep(store: Store, principal: Principal, path: str, milliseconds: int) -> None:
    mailbox = await store.mailboxes.by_path(principal.user, path)
    await store.mailboxes.update(principal.user, mailbox.id, MailboxChanges(retention=milliseconds))


async def uids(mail: Mail, path: str) -> list[int]:
    view = await mail.open(path, ears := Ears())
    found = list(view.uids)
    mail.close_view(view, ears)
    return found


async def test_only_what_is_too_old_goes(store: Store, principal: Principal, mail: Mail) -> None:
    await mail.create("Kept")
    await put(mail, "Kept", range(3))
    await put(mail, "INBOX", range(3))
    await age(store, 2 * DAY)
    await put(mail, "INBOX", range(3, 5))
    await keep(store, principal, "INBOX", DAY_MS)
    view = await mail.open("INBOX", ears := Ears())
    assert await store.retention.run() == 3
    await mail.sync(view)
    assert (list(view.uids), ears.expunged) == ([4, 5], [1, 2, 3])
    assert await uids(mail, "Kept") == [1, 2, 3]
    assert await store.archived.count(principal.user) == 3
    assert await store.retention.run() == 0
    assert await check(store) == []


async def test_a_move_begins_the_time_anew(store: Store, principal: Principal, mail: Mail) -> None:
    await mail.create("Trash", retention=DAY_MS)
    await put(mail, "INBOX", range(2))
    await age(store, 2 * DAY)
    view = await mail.open("INBOX", Ears())
    await mail.move(view, Ranges.of(1), "Trash")
    assert await store.retention.run() == 0
    await age(store, 2 * DAY)
    assert await store.retention.run() == 1
    assert await uids(mail, "Trash") == []


async def test_many_mailboxes_and_messages(
    store: Store, mail: Mail, principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "SEEKS", 2)
    monkeypatch.setattr(retention, "CHUNK", 2)
    monkeypatch.setattr(base, "CHUNK", 2)
    for number in range(5):
        await mail.create(f"m{number}", retention=DAY_MS * (number + 1))
        await put(mail, f"m{number}", range(5))
    second = await new_account(store, "bert")
    await put(Mail(store, second), "INBOX", range(3))
    await keep(store, second, "INBOX", DAY_MS)
    await age(store, 3 * DAY + timedelta(minutes=1))
    assert await store.retention.run() == 3 * 5 + 3
    assert [len(await uids(mail, f"m{number}")) for number in range(5)] == [0, 0, 0, 5, 5]
    assert await check(store) == []


async def test_a_new_mailbox_keeps_as_long_as_its_account(store: Store, principal: Principal, mail: Mail) -> None:
    await store.users.update(principal.user, {"retention": 7})
    assert (await mail.create("its account's")).retention == 7
    assert (await mail.create("its own", retention=9)).retention == 9
    await mail.create("above/below")
    assert (await mail.mailbox("above")).retention == 7


async def test_what_fails_keeps_nothing_else(
    store: Store, principal: Principal, mail: Mail, caplog: pytest.LogCaptureFixture
) -> None:
    for path in ("broken", "whole"):
        await mail.create(path, retention=DAY_MS)
        await put(mail, path, [1])
    await age(store, 2 * DAY)
    await store.database["mailboxes"].update_one({"path": "broken"}, {"$set": {"keywords": "damaged"}})
    broken = await store.database["mailboxes"].find_one({"path": "broken"})
    assert broken is not None
    await store.database["messages"].update_one({"mailbox": broken["_id"]}, {"$set": {"flags": "damaged"}})
    assert await store.retention.run() == 1
    assert "retiring messages failed" in caplog.text
    assert await uids(mail, "whole") == []


async def test_the_walk_is_along_an_index(store: Store, mail: Mail) -> None:
    for number in range(20):
        await mail.create(f"m{number}")
    await mail.create("one", retention=DAY_MS)
    await put(mail, "one", [1])
    query = {"retention": {"$gt": 0}, "messages": {"$gt": 0}, "path": {"$exists": True}}
    told = await store.database.command(
        "explain",
        {"find": "mailboxes", "filter": query, "sort": {"user": 1, "_id": 1}, "hint": {"user": 1, "_id": 1}},
        verbosity="executionStats",
    )
    assert told["executionStats"]["totalDocsExamined"] == 1
    assert "SORT" not in str(told["queryPlanner"]["winningPlan"])
