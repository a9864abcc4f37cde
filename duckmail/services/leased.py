"""What runners of leased work share: they take what is due until their end, and keep the leases of what is in work."""

import asyncio
import contextlib
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from duckmail.errors import DuckmailError, Unavailable
from duckmail.runtime.log import event
from duckmail.runtime.tasks import Tasks

POLL_SECONDS = 2.0
RENEW_SECONDS = 10.0
# A lease lasts 60 s by the server's clock, and a renewal is at most 10 s under way: what has not been renewed for so
# long stops before another process may begin.
UNSURE_SECONDS = 35.0


class Job(Protocol):
    """One that is in work. `renewed`: when its lease was, monotonic."""

    renewed: float

    def stop(self) -> None: ...


J = TypeVar("J", bound=Job)


class LeasedRunner(ABC, Generic[J]):
    """`start` it, `wake` it when there is something new; how it is drained is for each to say."""

    def __init__(self, what: str, poll: float) -> None:
        """`what`: there is to do; the name of its logger and its tasks. `poll`: seconds between two looks."""
        self._what = what
        self._poll = poll
        self._jobs: dict[str, J] = {}
        self._work = Tasks(f"{what}-jobs")
        self._tasks = Tasks(what)
        self._woken = asyncio.Event()
        self._draining = False
        self._logger = logging.getLogger(f"duckmail.{what}")

    def start(self) -> None:
        self._tasks.start(self._run(), "runner")
        self._tasks.start(self._keep(), "leases")

    def wake(self) -> None:
        """There may be something to do."""
        self._woken.set()

    @abstractmethod
    async def _begin(self) -> None:
        """What comes before the first look. Raises: Unavailable."""

    @abstractmethod
    async def _take(self) -> int:
        """Begins as many as there is room for; how many. Raises: Unavailable."""

    @abstractmethod
    async def _renew(self, jobs: Iterable[J]) -> set[str]:
        """The keys of those whose leases are still held. Raises: Unavailable."""

    def _stop(self, key: str, job: J) -> None:
        """Breaks it off; `key`: in `_jobs`."""
        job.stop()

    async def _run(self) -> None:
        begun = False
        while not self._draining:
            self._woken.clear()
            taken = 0
            try:
                if not begun:
                    await self._begin()
                    begun = True
                taken = await self._take()
            except DuckmailError as error:
                event(self._logger, logging.WARNING, f"the {self._what} cannot be read", fields=error.fields)
            if not taken:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._poll):
                        await self._woken.wait()

    async def _keep(self) -> None:
        """Renews the leases, and stops whoever may be without one; until cancelled."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            jobs = dict(self._jobs)
            if not jobs:
                continue
            since = time.monotonic()
            try:
                held = await self._renew(jobs.values())
            except Unavailable as error:
                event(self._logger, logging.WARNING, "leases not renewed", fields=error.fields)
                held = {key for key, job in jobs.items() if since - job.renewed <= UNSURE_SECONDS}
            else:
                for key in held & jobs.keys():
                    jobs[key].renewed = since
            for key, job in jobs.items():
                if key not in held and self._jobs.get(key) is job:
                    self._stop(key, job)
