"""Results of attempts that end at the same time: one command, and each is told what became of its own."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from duckmail.errors import Unavailable
from duckmail.model.queue import QueueRecipient, State
from storage.queue import Claim, LeaseLost
from tests.support.outbound import Outbound, World, outbound


@pytest.fixture
async def idle(mongo_uri: str, database_name: str) -> AsyncIterator[Outbound]:
    """Nobody works on its queue."""
    async with outbound(mongo_uri, database_name, World(), start=False) as one:
        yield one


async def claims(idle: Outbound, count: int) -> list[Claim]:
    for number in range(count):
        await idle.submit(f"u{number}@far.test")
    found = await idle.store.queue.claim("test", count)
    assert len(found) == count
    return found


def relayed(claim: Claim) -> list[QueueRecipient]:
    return [replace(claim.message.recipients[0], state=State.RELAYED, attempts=1, reply="250 OK", due=None)]


async def finish(idle: Outbound, claim: Claim) -> None:
    await idle.store.queue.finish(claim, relayed(claim), [0])


async def test_many_end_in_few_commands(idle: Outbound) -> None:
    found = await claims(idle, 30)
    before = await idle.store.client.admin.command("serverStatus")
    await asyncio.gather(*(finish(idle, claim) for claim in found))
    after = await idle.store.client.admin.command("serverStatus")
    updates = [status["metrics"]["commands"]["update"]["total"] for status in (before, after)]
    assert updates[1] - updates[0] < 10
    for claim in found:
        assert await idle.ended(claim.message.id) == [State.RELAYED]
    assert await idle.store.database["queue"].count_documents({"lease": {"$exists": True}}) == 0


async def test_of_many_who_has_lost_its_lease_is_told(idle: Outbound) -> None:
    found = await claims(idle, 8)
    lost = found[5]
    await idle.store.queue.give_back([lost])
    (taken,) = await idle.store.queue.claim("another", 10)
    results = await asyncio.gather(*(finish(idle, claim) for claim in found), return_exceptions=True)
    assert [isinstance(result, LeaseLost) for result in results] == [claim is lost for claim in found]
    assert (await idle.queue.get(lost.message.id)).recipients[0].state is State.WAITING
    assert await idle.store.queue.renew([taken]) == {lost.message.id}


@pytest.mark.parametrize("count", [1, 5], ids=["alone", "with-others"])
async def test_what_was_written_may_be_written_again(idle: Outbound, count: int) -> None:
    """The first answer of the database was lost on its way."""
    found = await claims(idle, count)
    await finish(idle, found[0])
    await asyncio.gather(*(finish(idle, claim) for claim in found))
    for claim in found:
        assert await idle.ended(claim.message.id) == [State.RELAYED]


async def test_a_time_is_found_again_although_the_database_keeps_it_shorter(idle: Outbound) -> None:
    (claim,) = await claims(idle, 1)
    due = datetime.now(UTC).replace(microsecond=123_456) + timedelta(hours=1)
    put_off = [replace(claim.message.recipients[0], attempts=1, due=due, reply="451 later")]
    for _ in range(2):
        await idle.store.queue.finish(claim, put_off, [0])


async def test_without_a_database_nobody_is_told_that_it_is_written(
    idle: Outbound, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await claims(idle, 3)

    async def failing(*_: object, **__: object) -> None:
        raise Unavailable

    monkeypatch.setattr(idle.store.queue._endings._queue, "bulk_write", failing)
    results = await asyncio.gather(*(finish(idle, claim) for claim in found), return_exceptions=True)
    assert all(isinstance(result, Unavailable) for result in results)
    monkeypatch.undo()
    await asyncio.gather(*(finish(idle, claim) for claim in found))
