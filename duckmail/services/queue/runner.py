"""The one task of a process that empties the queue: takes what is due under a lease, and lets attempts run."""

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from duckmail.errors import DuckmailError, Unavailable
from duckmail.runtime.log import event
from duckmail.runtime.tasks import Tasks
from duckmail.services.queue.attempt import Attempt, Tools
from storage.queue import Claim, LeaseLost

POLL_SECONDS = 2.0
RENEW_SECONDS = 10.0
# A lease lasts 60 s by the server's clock, and a renewal is at most 10 s under way: what has not been renewed for so
# long stops before another process may begin.
UNSURE_SECONDS = 35.0
RECORD_SECONDS = 3.0  # at the end, for results that are known
PUT_OFF = timedelta(seconds=60)  # a message that could not be looked at
AHEAD = 2  # messages taken for each transaction that can run: some wait for a busy host

_logger = logging.getLogger("duckmail.queue")


@dataclass(slots=True)
class _Job:
    attempt: Attempt
    renewed: float  # monotonic

    @property
    def claim(self) -> Claim:
        return self.attempt.claim


class Runner:
    """`start` it, `wake` it when there is something new, `drain` it at the end."""

    def __init__(self, tools: Tools, name: str, concurrency: int, poll: float = POLL_SECONDS) -> None:
        """`name`: of this process, the same after a restart. `concurrency`: transactions at once."""
        self._tools = tools
        self._queue = tools.store.queue
        self._name = name
        self._most = AHEAD * concurrency
        self._poll = poll
        self._jobs: dict[str, _Job] = {}
        self._running = Tasks("queue-jobs")
        self._tasks = Tasks("queue")
        self._woken = asyncio.Event()
        self._draining = False

    def start(self) -> None:
        self._tasks.start(self._run(), "runner")
        self._tasks.start(self._keep(), "leases")

    def wake(self) -> None:
        """There may be something to do."""
        self._woken.set()

    @property
    def working(self) -> int:
        """Messages in work."""
        return len(self._jobs)

    async def drain(self, seconds: float) -> None:
        """Takes no more, lets attempts end for `seconds`, breaks off the rest, and gives back what is left."""
        self._draining = True
        self.wake()
        if await self._running.finished(seconds):
            for job in self._jobs.values():
                job.attempt.stop()
            await self._running.finished(RECORD_SECONDS)
        await self._running.aclose()
        await self._tasks.aclose()
        with contextlib.suppress(Unavailable):
            await self._queue.give_back([job.claim for job in self._jobs.values()])

    async def _run(self) -> None:
        begun = False
        while not self._draining:
            self._woken.clear()
            taken = 0
            try:
                if not begun:
                    await self._queue.begin(self._name)
                    begun = True
                taken = await self._take()
            except DuckmailError as error:
                event(_logger, logging.WARNING, "the queue cannot be read", fields=error.fields)
            if not taken:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._poll):
                        await self._woken.wait()

    async def _take(self) -> int:
        """Begins as many attempts as there is room for; how many. Raises: Unavailable."""
        room = self._most - len(self._jobs)
        if room < self._least:
            return 0
        since = time.monotonic()
        claims = await self._queue.claim(self._name, room)
        if self._draining:
            await self._queue.give_back(claims)
            return 0
        for claim in claims:
            job = self._jobs[claim.message.id] = _Job(Attempt(self._tools, claim), since)
            self._running.start(self._work(job), claim.message.id)
        return len(claims)

    @property
    def _least(self) -> int:
        """Room that is worth a query: a message at a time would cost as much as sending it."""
        return max(1, self._most // 4)

    async def _work(self, job: _Job) -> None:
        identifier = job.claim.message.id
        try:
            await job.attempt.run()
        except LeaseLost:
            event(_logger, logging.WARNING, "lease lost", id=identifier)
        except DuckmailError as error:
            event(_logger, logging.WARNING, "message put off", id=identifier, fields=error.fields)
            await self._put_off(job.claim)
        except Exception:
            event(_logger, logging.ERROR, "attempt failed", exc_info=True, id=identifier)
            await self._put_off(job.claim)
        if self._jobs.get(identifier) is job:
            del self._jobs[identifier]
        if job.attempt.reported or self._most - len(self._jobs) == self._least:
            self._woken.set()

    async def _put_off(self, claim: Claim) -> None:
        with contextlib.suppress(Unavailable):  # the lease ends by itself
            await self._queue.give_back([claim], datetime.now(UTC) + PUT_OFF)

    async def _keep(self) -> None:
        """Renews the leases, and stops whoever may be without one; until cancelled."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            jobs = list(self._jobs.values())
            if not jobs:
                continue
            since = time.monotonic()
            try:
                held = await self._queue.renew([job.claim for job in jobs])
            except Unavailable as error:
                event(_logger, logging.WARNING, "leases not renewed", fields=error.fields)
                for job in jobs:
                    if since - job.renewed > UNSURE_SECONDS:
                        job.attempt.stop()
                continue
            for job in jobs:
                if job.claim.message.id in held:
                    job.renewed = since
                elif self._jobs.get(job.claim.message.id) is job:
                    job.attempt.stop()
