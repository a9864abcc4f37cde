"""Who may send at the same time, and how often."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from duckmail.errors import InUse
from duckmail.services.queue.slots import Pace, Slots


@pytest.mark.parametrize(
    ("pace", "taken", "other"),
    [
        pytest.param(Pace(per_host=2), {"host": "a.test"}, {"host": "b.test"}, id="host"),
        pytest.param(Pace(per_domain=2), {"domain": "a.test"}, {"domain": "b.test"}, id="domain"),
        pytest.param(Pace(per_account=2), {"account": "anna"}, {"account": "bert"}, id="account"),
        pytest.param(Pace(per_account=2), {"account": "anna", "host": "a.test"}, {"host": "a.test"}, id="our-own-mail"),
    ],
)
async def test_so_many_at_once(pace: Pace, taken: dict[str, str], other: dict[str, str]) -> None:
    slots = Slots(20, pace, patience=0.01)
    for _ in range(2):  # all that was taken is given back
        async with AsyncExitStack() as stack:
            for _ in range(2):
                await stack.enter_async_context(slots.take(**taken))
            with pytest.raises(InUse):
                await stack.enter_async_context(slots.take(**taken))
            await stack.enter_async_context(slots.take(**other))


async def test_who_waits_gets_the_slot_that_is_given_back() -> None:
    slots = Slots(20, Pace(per_host=1), patience=15)
    order: list[str] = []

    async def second() -> None:
        async with slots.take("a.test"):
            order.append("second")

    async with asyncio.TaskGroup() as tasks, slots.take("a.test"):
        tasks.create_task(second())
        await asyncio.sleep(0.01)
        order.append("first")
    assert order == ["first", "second"]


async def test_so_many_a_minute() -> None:
    slots = Slots(20, Pace(host_minute=600), patience=0.25)  # one in 100 ms
    loop, begun = asyncio.get_running_loop(), []
    since = loop.time()

    async def one(host: str) -> None:
        async with slots.take(host):
            begun.append((loop.time(), host))

    got = await asyncio.gather(*(one("a.test") for _ in range(30)), one("b.test"), return_exceptions=True)
    times = [when for when, host in begun if host == "a.test"]
    refused = [error for error in got if isinstance(error, InUse)]
    assert len(times) + len(refused) == 30
    assert len(times) >= 3
    assert refused, "whose turn is later than the patience gives up"
    # Later than that on a busy machine, each of them, but not earlier.
    assert all(when - since >= 0.1 * number - 0.01 for number, when in enumerate(times))
