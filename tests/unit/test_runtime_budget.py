"""The octet budget: order, limits, and that nothing is ever lost of it."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duckmail.errors import Unavailable
from duckmail.runtime.budget import OctetBudget


async def test_reservations_up_to_the_limit_at_once() -> None:
    budget = OctetBudget(100)
    async with budget.reserve(60, 1) as first, budget.reserve(40, 1) as second:
        assert (first, second, budget.used) == (60, 40, 100)
    assert budget.used == 0


async def test_more_than_the_limit_is_clipped() -> None:
    budget = OctetBudget(100)
    async with budget.reserve(10_000, 1) as held:
        assert held == budget.used == 100


async def test_too_long_a_wait_is_unavailable() -> None:
    budget = OctetBudget(100)
    async with budget.reserve(100, 1):
        with pytest.raises(Unavailable):
            async with budget.reserve(1, 0.02):
                raise AssertionError("over the limit")
    assert (budget.used, budget.waiting) == (0, 0)


async def test_first_come_first_served() -> None:
    """A small one does not overtake a large one that waits; when the large one gives up, the small one goes on."""
    budget = OctetBudget(100)
    order: list[str] = []

    async def take(name: str, octets: int, timeout: float) -> None:
        try:
            async with budget.reserve(octets, timeout):
                order.append(name)
        except Unavailable:
            order.append(f"{name} gave up")

    loop = asyncio.get_running_loop()
    async with budget.reserve(50, 1):
        tasks = [loop.create_task(take("large", 80, 0.05)), loop.create_task(take("small", 10, 5))]
        await asyncio.sleep(0.01)
        assert order == []
        await asyncio.gather(*tasks)
    assert order == ["large gave up", "small"]
    assert (budget.used, budget.waiting) == (0, 0)


async def test_cancelled_in_the_turn_in_which_it_is_granted() -> None:
    budget = OctetBudget(10)

    async def take() -> None:
        async with budget.reserve(10, 5):
            await asyncio.sleep(5)

    first = asyncio.get_running_loop().create_task(take())
    second = asyncio.get_running_loop().create_task(take())
    third = asyncio.get_running_loop().create_task(take())
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.sleep(0)  # the first has given back, the second is granted and has not run
    second.cancel()
    third.cancel()
    await asyncio.gather(first, second, third, return_exceptions=True)
    assert (budget.used, budget.waiting) == (0, 0)


@given(st.lists(st.tuples(st.integers(0, 150), st.integers(0, 3), st.booleans()), max_size=30))
@settings(max_examples=60, deadline=None)
def test_nothing_is_lost_whatever_happens(plan: list[tuple[int, int, bool]]) -> None:
    """Any mix of sizes, durations and cancellations: never over the limit, all given back, nobody forgotten."""

    async def scenario() -> None:
        budget = OctetBudget(100)

        async def one(octets: int, turns: int) -> None:
            async with budget.reserve(octets, 5):
                assert budget.used <= 100
                for _ in range(turns):
                    await asyncio.sleep(0)

        tasks = []
        for octets, turns, cancel in plan:
            tasks.append(asyncio.get_running_loop().create_task(one(octets, turns)))
            await asyncio.sleep(0)
            if cancel:
                tasks[turns % len(tasks)].cancel()
        results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 40)
        assert all(result is None or isinstance(result, asyncio.CancelledError) for result in results)
        assert (budget.used, budget.waiting) == (0, 0)

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(scenario())
