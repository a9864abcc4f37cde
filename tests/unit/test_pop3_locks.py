"""One session has a maildrop, over all processes, for as long as it and its process live."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from bson.objectid import ObjectId

from duckmail.errors import InUse
from storage import maildrops
from storage.maildrops import LEASE_MS, Lock, MaildropLocks
from storage.mongo.client import Database
from storage.store import Store

USER = str(ObjectId())


@pytest.fixture
def processes(store: Store) -> tuple[MaildropLocks, MaildropLocks]:
    """What two processes know of one database."""
    return MaildropLocks(store.database), MaildropLocks(store.database)


async def expire(database: Database, seconds: float = 1) -> None:
    """As if so much time had passed since the lease ran out."""
    past = datetime.now(UTC) - timedelta(seconds=seconds)
    await database["maildrops"].update_many({}, {"$set": {"expires": past}})


async def test_one_at_a_time(store: Store, processes: tuple[MaildropLocks, MaildropLocks]) -> None:
    one, other = processes
    lock = await one.acquire(USER)
    for process in processes:
        with pytest.raises(InUse):
            await process.acquire(USER)
    await one.confirm(lock)
    await other.release(await other.acquire(str(ObjectId())))
    await one.release(lock)
    again = await other.acquire(USER)
    assert again.owner != lock.owner
    await one.release(lock)  # what is given up already is no longer its own
    await other.confirm(again)
    await other.release(again)
    assert await store.database["maildrops"].count_documents({}) == 0


async def test_many_at_once(processes: tuple[MaildropLocks, MaildropLocks]) -> None:
    for round_ in range(5):
        user = str(ObjectId())
        outcomes = await asyncio.gather(
            *(processes[number % 2].acquire(user) for number in range(20)), return_exceptions=True
        )
        got = [outcome for outcome in outcomes if isinstance(outcome, Lock)]
        assert len(got) == 1, round_
        assert sum(isinstance(outcome, InUse) for outcome in outcomes) == 19


async def test_what_a_dead_process_left_is_taken_over(
    store: Store, processes: tuple[MaildropLocks, MaildropLocks]
) -> None:
    dead, living = processes
    lost = await dead.acquire(USER)
    document = await store.database["maildrops"].find_one({}) or {}
    ends = document["expires"] - datetime.now(UTC)
    assert timedelta(milliseconds=LEASE_MS - 3000) < ends <= timedelta(milliseconds=LEASE_MS)
    await expire(store.database)
    lock = await living.acquire(USER)
    with pytest.raises(InUse):
        await dead.confirm(lost)  # it was not dead, but stalled: it must not change anything any more
    await dead.release(lost)
    await living.confirm(lock)


async def test_who_stalled_and_nobody_came_goes_on(
    store: Store, processes: tuple[MaildropLocks, MaildropLocks]
) -> None:
    one, other = processes
    lock = await one.acquire(USER)
    await expire(store.database)
    await one.confirm(lock)
    with pytest.raises(InUse):
        await other.acquire(USER)


async def test_a_living_process_keeps_its_own(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maildrops, "RENEW_SECONDS", 0.05)
    one, other = MaildropLocks(store.database), MaildropLocks(store.database)
    mine, given = await one.acquire(USER), await one.acquire(str(ObjectId()))
    theirs = await other.acquire(str(ObjectId()))
    await one.release(given)
    keeping = asyncio.get_running_loop().create_task(one.keep())
    await asyncio.sleep(0.1)
    await expire(store.database)
    await asyncio.sleep(0.3)
    with pytest.raises(InUse):
        await other.acquire(USER)
    await other.acquire(str(theirs.user))  # nobody renewed that
    await one.acquire(str(given.user))
    await one.confirm(mine)
    keeping.cancel()


async def test_the_store_keeps_them(store: Store) -> None:
    assert any("maildrops" in task.get_name() for task in asyncio.all_tasks())
    indexes = await store.database["maildrops"].index_information()
    assert [index["expireAfterSeconds"] for index in indexes.values() if "expireAfterSeconds" in index] == [3600]
