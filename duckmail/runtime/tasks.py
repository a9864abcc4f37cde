"""Owned tasks: each belongs to a group that logs its failure and ends it."""

import asyncio
import logging
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

from duckmail.runtime.log import event

_logger = logging.getLogger("duckmail.runtime.tasks")


class Tasks:
    """The owner of a group of tasks; `async with Tasks("imap") as tasks` cancels them all on the way out.

    One failing task neither cancels the others nor its owner (unlike `asyncio.TaskGroup`): connections are
    independent of each other.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False

    def start(self, coro: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run `coro` until it ends or the group is closed; an exception it raises is logged.

        Raises:
            RuntimeError: the group is closed; `coro` is closed without having run.
        """
        if self._closed:
            coro.close()
            raise RuntimeError(f"task group {self.name} is closed")
        task = asyncio.get_running_loop().create_task(coro, name=f"{self.name}:{name}")
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            event(_logger, logging.ERROR, "task failed", exc_info=error, task=task.get_name())

    @property
    def closed(self) -> bool:
        """Whether `start` would refuse."""
        return self._closed

    def __len__(self) -> int:
        return len(self._running)

    async def finished(self, timeout: float) -> int:
        """Wait at most `timeout` seconds until no task runs, cancelling none; gives how many still run."""
        if self._running:
            await asyncio.wait(self._running, timeout=timeout)
        return len(self._running)

    async def aclose(self, timeout: float = 5.0) -> None:
        """Cancel all tasks but the caller's own and wait at most `timeout` seconds for them; start no more.

        Halfway those that are left are cancelled again: `asyncio.wait_for` before Python 3.12, which drivers use, loses
        a cancellation that comes just when what it waited for is done.
        """
        self._closed = True
        left = self._running - {asyncio.current_task()}
        for _ in range(2):
            if not left:
                return
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=timeout / 2)
        if left:
            names = sorted(task.get_name() for task in left)
            event(_logger, logging.WARNING, "tasks did not end in time", group=self.name, tasks=names, timeout=timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
