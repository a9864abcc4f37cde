"""Task groups: ownership, failures, ends."""

import asyncio
import contextlib
import logging

import pytest

from duckmail.runtime.tasks import Tasks


async def test_leaving_the_block_cancels_and_waits() -> None:
    ended = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    async with Tasks("group") as tasks:
        tasks.start(work(), "one")
        tasks.start(work(), "two")
        await asyncio.sleep(0)
    assert ended == [True, True]
    assert len(tasks) == 0


async def test_failure_is_logged_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise KeyError("x")

    async def work() -> None:
        await asyncio.sleep(0.01)
        done.append(True)

    done: list[bool] = []
    async with Tasks("group") as tasks:
        tasks.start(fail(), "bad")
        tasks.start(work(), "good")
        assert await tasks.finished(40) == 0
    assert done == [True]
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.fields == {"task": "group:bad"}
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], KeyError)


async def test_stubborn_task_is_named_after_the_timeout(caplog: pytest.LogCaptureFixture) -> None:
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    tasks = Tasks("group")
    task = tasks.start(stubborn(), "mule")
    await asyncio.sleep(0)
    await tasks.aclose(timeout=0.05)
    assert caplog.records[-1].fields["tasks"] == ["group:mule"]
    release.set()
    await task


async def test_closed_group_starts_nothing() -> None:
    tasks = Tasks("group")
    await tasks.aclose()
    with pytest.raises(RuntimeError):
        tasks.start(asyncio.sleep(0), "late")


async def test_task_may_close_its_own_group() -> None:
    tasks = Tasks("group")

    async def last() -> None:
        await tasks.aclose()

    await asyncio.wait_for(tasks.start(last(), "last"), 40)


async def test_finished_waits_without_cancelling() -> None:
    async with Tasks("group") as tasks:
        tasks.start(asyncio.sleep(0.05), "short")
        tasks.start(asyncio.sleep(60), "long")
        assert await tasks.finished(0.2) == 1


async def test_a_cancellation_that_a_library_lost_is_made_again() -> None:
    async def lossy() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    tasks = Tasks("group")
    tasks.start(lossy(), "one")
    await asyncio.sleep(0)
    await tasks.aclose(timeout=0.2)
    assert len(tasks) == 0
