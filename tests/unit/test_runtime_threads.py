"""The thread pool: bounded queue, cancellation, errors."""

import asyncio
import threading

import pytest

from duckmail.errors import Unavailable
from duckmail.runtime.threads import Pool


async def test_result_and_exception_come_back() -> None:
    pool = Pool("test", 1)
    assert await pool.run(divmod, 7, 2) == (3, 1)
    assert await pool.run(sorted, [1, 2], reverse=True) == [2, 1]
    with pytest.raises(ZeroDivisionError):
        await pool.run(divmod, 1, 0)
    assert pool.pending == 0
    pool.close()


async def test_full_queue_is_unavailable_at_once() -> None:
    pool = Pool("test", 1, waiting=1)
    release = threading.Event()
    loop = asyncio.get_running_loop()
    running = [loop.create_task(pool.run(release.wait, 10)) for _ in range(2)]
    await asyncio.sleep(0.01)
    with pytest.raises(Unavailable):
        await pool.run(int)
    release.set()
    assert await asyncio.gather(*running) == [True, True]
    assert await pool.run(int) == 0
    pool.close()


async def test_cancelled_caller_leaves_the_queue_but_not_a_running_thread() -> None:
    pool = Pool("test", 1, waiting=1)
    release = threading.Event()
    ran = []
    loop = asyncio.get_running_loop()
    first = loop.create_task(pool.run(release.wait, 10))
    second = loop.create_task(pool.run(ran.append, "second"))
    await asyncio.sleep(0.01)
    second.cancel()
    first.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    assert pool.pending == 1  # the thread of the first is still busy
    release.set()
    await pool.run(ran.append, "third")
    assert ran == ["third"]
    pool.close()
    with pytest.raises(RuntimeError):
        await pool.run(int)
