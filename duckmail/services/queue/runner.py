"""The one task of a process that empties the queue: takes what is due under a lease, and lets attempts run."""

import contextlib
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from duckmail.errors import DuckmailError, Unavailable
from duckmail.runtime.log import event
from duckmail.services.leased import POLL_SECONDS, LeasedRunner
from duckmail.services.queue.attempt import Attempt, Tools
from storage.queue import Claim, LeaseLost

RECORD_SECONDS = 3.0  # at the end, for results that are known
PUT_OFF = timedelta(seconds=60)  # a message that could not be looked at
AHEAD = 2  # messages taken for each transaction that can run: some wait for a busy host


@dataclass(slots=True)
class _Job:
    attempt: Attempt
    renewed: float  # monotonic

    @property
    def claim(self) -> Claim:
        return self.attempt.claim

    def stop(self) -> None:
        self.attempt.stop()


class Runner(LeasedRunner[_Job]):
    """`start` it, `wake` it when there is something new, `drain` it at the end."""

    def __init__(self, tools: Tools, name: str, concurrency: int, poll: float = POLL_SECONDS) -> None:
        """`name`: of this process, the same after a restart. `concurrency`: transactions at once."""
        super().__init__("queue", poll)
        self._tools = tools
        self._queue = tools.store.queue
        self._name = name
        self._most = AHEAD * concurrency

    @property
    def working(self) -> int:
        """Messages in work."""
        return len(self._jobs)

    async def drain(self, seconds: float) -> None:
        """Takes no more, lets attempts end for `seconds`, breaks off the rest, and gives back what is left."""
        self._draining = True
        self.wake()
        if await self._work.finished(seconds):
            for job in self._jobs.values():
                job.stop()
            await self._work.finished(RECORD_SECONDS)
        await self._work.aclose()
        await self._tasks.aclose()
        with contextlib.suppress(Unavailable):
            await self._queue.give_back([job.claim for job in self._jobs.values()])

    async def _begin(self) -> None:
        await self._queue.begin(self._name)

    async def _take(self) -> int:
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
            self._work.start(self._do(job), claim.message.id)
        return len(claims)

    @property
    def _least(self) -> int:
        """Room that is worth a query: a message at a time would cost as much as sending it."""
        return max(1, self._most // 4)

    async def _do(self, job: _Job) -> None:
        identifier = job.claim.message.id
        try:
            await job.attempt.run()
        except LeaseLost:
            event(self._logger, logging.WARNING, "lease lost", id=identifier)
        except DuckmailError as error:
            event(self._logger, logging.WARNING, "message put off", id=identifier, fields=error.fields)
            await self._put_off(job.claim)
        except Exception:
            event(self._logger, logging.ERROR, "attempt failed", exc_info=True, id=identifier)
            await self._put_off(job.claim)
        if self._jobs.get(identifier) is job:
            del self._jobs[identifier]
        if job.attempt.reported or self._most - len(self._jobs) == self._least:
            self._woken.set()

    async def _put_off(self, claim: Claim) -> None:
        with contextlib.suppress(Unavailable):  # the lease ends by itself
            await self._queue.give_back([claim], datetime.now(UTC) + PUT_OFF)

    async def _renew(self, jobs: Iterable[_Job]) -> set[str]:
        return await self._queue.renew([job.claim for job in jobs])
