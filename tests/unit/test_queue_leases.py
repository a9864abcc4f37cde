"""Several processes on one queue: each message is one's at a time, and nobody's for long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from duckmail.errors import Unavailable
from duckmail.model.queue import State
from duckmail.services import leased
from storage import queue as records
from storage.queue import Claim, LeaseLost
from tests.support.outbound import DEFER, Outbound, World, outbound

RELAYED, WAITING = State.RELAYED, State.WAITING


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def idle(mongo_uri: str, database_name: str, world: World) -> AsyncIterator[Outbound]:
    """Nobody works on its queue."""
    async with outbound(mongo_uri, database_name, world, start=False) as one:
        yield one


@pytest.fixture
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_LEASE_END", {"$add": ["$$NOW", 300]})


async def claim(one: Outbound, name: str = "test", most: int = 10) -> list[Claim]:
    return await one.store.queue.claim(name, most)


async def test_of_two_who_want_the_same_one_gets_it(idle: Outbound) -> None:
    for number in range(30):
        await idle.submit(f"u{number}@far.test")
    found = await asyncio.gather(*(claim(idle, f"runner{number}", 30) for number in range(4)))
    ids = [each.message.id for claims in found for each in claims]
    assert len(ids) == len(set(ids)) == 30
    assert await claim(idle) == []


async def test_two_processes_send_each_message_once(mongo_uri: str, database_name: str, world: World) -> None:
    async with AsyncExitStack() as stack:
        some = [
            await stack.enter_async_context(outbound(mongo_uri, database_name, world, slot=f"slot{number}"))
            for number in range(3)
        ]
        identifiers = await asyncio.gather(
            *(some[number % 3].submit(f"u{number}@far.test", "x@away.test") for number in range(60))
        )
        for identifier in identifiers:
            assert await some[0].ended(identifier) == [RELAYED, RELAYED]
    assert len(world.taken) == 60


async def test_a_lease_ends_by_itself(idle: Outbound, short_leases: None) -> None:
    await idle.submit("c@far.test")
    (first,) = await claim(idle, "one")
    assert await claim(idle, "two") == []
    await asyncio.sleep(0.35)
    (second,) = await claim(idle, "two")
    assert second.message.id == first.message.id
    assert second.message.runner == "two"


async def test_who_has_lost_the_lease_writes_nothing(idle: Outbound, short_leases: None) -> None:
    identifier = await idle.submit("c@far.test")
    (first,) = await claim(idle, "one")
    await asyncio.sleep(0.35)
    (second,) = await claim(idle, "two")
    changed = [replace(first.message.recipients[0], state=RELAYED)]
    with pytest.raises(LeaseLost):
        await idle.store.queue.record(first, {0: changed[0]})
    with pytest.raises(LeaseLost):
        await idle.store.queue.finish(first, changed, [0])
    report = await idle.store.database["queue"].find_one({})
    assert report is not None
    with pytest.raises(LeaseLost):
        await idle.store.queue.finish(first, changed, [0], [{**report, "_id": "another"}])
    await idle.store.queue.give_back([first])
    assert await idle.store.queue.renew([first]) == set()
    assert (await idle.queue.get(identifier)).recipients[0].state is WAITING
    assert await idle.store.database["queue"].count_documents({}) == 1
    assert await idle.store.queue.renew([second]) == {identifier}


async def test_who_was_slow_may_write_as_long_as_nobody_else_began(idle: Outbound, short_leases: None) -> None:
    identifier = await idle.submit("c@far.test")
    (first,) = await claim(idle)
    await asyncio.sleep(0.35)
    await idle.store.queue.finish(first, [replace(first.message.recipients[0], state=RELAYED)], [0])
    assert await idle.ended(identifier) == [RELAYED]


async def test_a_result_written_twice_is_written_once(idle: Outbound) -> None:
    """The first answer of the database was lost on its way."""
    identifier = await idle.submit("c@far.test", "d@far.test")
    (mine,) = await claim(idle)
    relayed = replace(mine.message.recipients[0], state=RELAYED)
    document = await idle.store.database["queue"].find_one({})
    assert document is not None
    report = {**document, "_id": records.ObjectId()}
    for _ in range(2):
        await idle.store.queue.record(mine, {0: relayed}, [report])
    assert await idle.store.database["queue"].count_documents({}) == 2
    assert [each.state for each in (await idle.queue.get(identifier)).recipients] == [RELAYED, WAITING]


async def test_renewed_leases_last(idle: Outbound, short_leases: None) -> None:
    await idle.submit("c@far.test")
    (mine,) = await claim(idle, "one")
    for _ in range(4):
        await asyncio.sleep(0.15)
        assert await idle.store.queue.renew([mine]) == {mine.message.id}
        assert await claim(idle, "two") == []


async def test_a_runner_renews_what_it_works_on(
    mongo_uri: str, database_name: str, world: World, short_leases: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leased, "RENEW_SECONDS", 0.1)
    world.go.clear()
    async with (
        outbound(mongo_uri, database_name, world, slot="one") as one,
        outbound(mongo_uri, database_name, world, slot="two"),
    ):
        identifier = await one.submit("c@far.test")
        await asyncio.sleep(1)
        world.go.set()
        assert await one.ended(identifier) == [RELAYED]
        assert world.attempts["c@far.test"] == 1


async def test_who_cannot_renew_stops_sending_before_the_lease_ends(
    mongo_uri: str, database_name: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leased, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(leased, "UNSURE_SECONDS", 0.2)

    async def never(_: object) -> set[str]:
        raise Unavailable

    world.go.clear()
    async with outbound(mongo_uri, database_name, world) as one:
        monkeypatch.setattr(one.store.queue, "renew", never)
        await one.submit("c@far.test")
        await world.begun.wait()
        async with asyncio.timeout(40):
            while world.now:
                await asyncio.sleep(0.01)
        found = [each async for each in one.queue.messages()]
        assert [(each.recipients[0].state, each.recipients[0].attempts) for each in found] == [(WAITING, 0)]


async def test_a_restarted_process_goes_on_at_once(mongo_uri: str, database_name: str, world: World) -> None:
    async with outbound(mongo_uri, database_name, world, start=False, slot="other") as one:
        identifier = await one.submit("c@far.test")
        assert len(await claim(one, "same")) == 1
        async with outbound(mongo_uri, database_name, world, slot="same"):
            assert await one.ended(identifier) == [RELAYED]


async def test_a_process_that_ends_breaks_off_and_gives_back(mongo_uri: str, database_name: str) -> None:
    stuck, free = World(), World()
    stuck.go.clear()
    async with outbound(mongo_uri, database_name, free, start=False, slot="two") as other:
        async with outbound(mongo_uri, database_name, stuck, slot="one") as one:
            identifiers = [await one.submit(f"u{number}@far.test") for number in range(8)]
            await stuck.begun.wait()
            await one.runner.drain(0.2)
            assert stuck.now == 0
        other.runner.start()
        for identifier in identifiers:
            assert await other.ended(identifier) == [RELAYED]
            assert (await other.queue.get(identifier)).recipients[0].attempts == 1
    assert stuck.taken == []


async def test_an_answer_is_recorded_when_the_database_is_back(
    mongo_uri: str, database_name: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with outbound(mongo_uri, database_name, world) as one:
        finish, failures = one.store.queue.finish, 2

        async def failing(*args: object) -> None:
            nonlocal failures
            failures -= 1
            if failures >= 0:
                raise Unavailable
            await finish(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(one.store.queue, "finish", failing)
        assert await one.ended(await one.submit("c@far.test")) == [RELAYED]
        assert world.attempts["c@far.test"] == 1


async def test_who_has_it_is_recorded_while_others_wait(mongo_uri: str, database_name: str) -> None:
    class Slow(World):
        async def send(self, destination, letter, recipients):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
            if destination.host == "slow.test":
                await self.slow.wait()
            return await super().send(destination, letter, recipients)

    world = Slow(hosts={"slow.test": ["slow.test"], "far.test": ["far.test"]})
    world.slow = asyncio.Event()  # type: ignore[attr-defined]
    async with outbound(mongo_uri, database_name, world, relay=None, mx=True) as one:
        identifier = await one.submit("c@far.test", "c@slow.test")
        found = await one.until(identifier, lambda found: found.recipients[0].state is RELAYED)
        assert found.recipients[1].state is WAITING
        assert found.runner
        world.slow.set()  # type: ignore[attr-defined]
        assert await one.ended(identifier) == [RELAYED, RELAYED]


async def test_a_content_that_is_gone_ends_in_a_report(one_gone: Outbound) -> None:
    anna = await one_gone.account("anna")
    identifier = await one_gone.submit("c@far.test")
    await one_gone.store.database["contents"].delete_many({})
    one_gone.runner.start()
    assert await one_gone.ended(identifier) == [State.FAILED]
    await one_gone.all_ended()
    assert len(await one_gone.inbox(anna)) == 1


@pytest.fixture
async def one_gone(mongo_uri: str, database_name: str, world: World) -> AsyncIterator[Outbound]:
    async with outbound(mongo_uri, database_name, world, start=False, schedule=(0.05,)) as one:
        yield one


async def test_deferred_mail_is_left_until_its_time(mongo_uri: str, database_name: str, world: World) -> None:
    world.answers["c@far.test"] = [DEFER]
    async with outbound(mongo_uri, database_name, world, schedule=(100.0,)) as one:
        identifier = await one.submit("c@far.test")
        found = await one.until(identifier, lambda found: found.recipients[0].attempts == 1 and not found.runner)
        (recipient,) = found.recipients
        assert recipient.due is not None
        assert recipient.tried is not None
        assert 89 < (recipient.due - recipient.tried).total_seconds() < 111
        document = await one.store.database["queue"].find_one({})
        assert document is not None
        assert document["due"] == recipient.due
        assert "lease" not in document


async def test_a_clock_that_is_fast_ends_no_lease(idle: Outbound) -> None:
    """By the clock of another machine the message is due again; the lease is the database's to end."""
    await idle.submit("c@far.test")
    assert len(await claim(idle, "one")) == 1
    await idle.store.database["queue"].update_one({}, {"$currentDate": {"due": True}})
    await asyncio.sleep(0.01)
    assert await claim(idle, "two") == []


async def test_a_process_that_ends_begins_nothing_new(mongo_uri: str, database_name: str, world: World) -> None:
    world.go.clear()
    async with outbound(mongo_uri, database_name, world, concurrency=1) as one:
        for number in range(6):
            await one.submit(f"u{number}@far.test")
        await world.begun.wait()
        begun = one.runner.working
        ending = asyncio.gather(one.runner.drain(60))
        await asyncio.sleep(0.05)
        world.go.set()
        await ending
        assert len(world.taken) == begun < 6
