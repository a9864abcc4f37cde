"""CPU work off the event loop, in a pool whose threads and queue are both bounded."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from duckmail.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")


class Pool:
    """`workers` threads, first come first served; at most `waiting` calls queue behind the ones that run."""

    def __init__(self, name: str, workers: int, waiting: int = 1000) -> None:
        self.name = name
        self._limit = workers + waiting
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix=f"duckmail-{name}")
        self._lock = threading.Lock()
        self._pending = 0

    async def run(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `fn(*args, **kwargs)`, computed in a thread.

        A caller that is cancelled leaves the queue; a call that already runs goes on and keeps its thread to the end.

        Raises:
            Unavailable: the queue is full; `fn` was not called.
        """
        with self._lock:
            if self._pending >= self._limit:
                raise Unavailable(pool=self.name, pending=self._pending)
            self._pending += 1
        try:
            future = self._executor.submit(fn, *args, **kwargs)
        except BaseException:
            self._done()
            raise
        future.add_done_callback(self._done)
        return await asyncio.wrap_future(future)

    def _done(self, _: Future[T] | None = None) -> None:
        # Called in the worker's thread, or in the loop's for a call that was cancelled while it waited.
        with self._lock:
            self._pending -= 1

    @property
    def pending(self) -> int:
        """Calls that run or wait."""
        return self._pending

    def close(self) -> None:
        """Drop what waits, let what runs come to its end, take no more."""
        self._executor.shutdown(wait=False, cancel_futures=True)
