"""Takes tasks that are due under a lease, and lets their handlers run."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from duckmail.errors import DuckmailError, Unavailable
from duckmail.model.task import Task
from duckmail.runtime.log import event
from duckmail.services.leased import POLL_SECONDS, LeasedRunner
from storage.tasks import TaskClaim, TaskLost, TaskRecords

CONCURRENCY = 4  # tasks of one process at once
END_SECONDS = 2.0
FIRST_WAIT = 5.0  # seconds after a failure; each further one doubles it
LONGEST_WAIT = 3600.0


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt at a task."""

    task: Task
    claim: TaskClaim
    records: TaskRecords

    async def save(self, **data: object) -> None:
        """How far it has come: the next attempt finds it in `task.data`. Raises: TaskLost, Unavailable."""
        await self.records.save(self.claim, data)


Handler = Callable[[Run], Awaitable[Mapping[str, object]]]


@dataclass(frozen=True, slots=True)
class Jobs:
    """`handlers`: by kind; each gives what it did. `periodic`: how long after its end a kind comes again."""

    handlers: Mapping[str, Handler]
    periodic: Mapping[str, timedelta]

    def also(self, other: "Jobs") -> "Jobs":
        """These and others."""
        return Jobs({**self.handlers, **other.handlers}, {**self.periodic, **other.periodic})


@dataclass(slots=True)
class _Job:
    claim: TaskClaim
    renewed: float  # monotonic
    work: asyncio.Task[None] | None = None

    def stop(self) -> None:
        if self.work is not None:
            self.work.cancel()


class TaskRunner(LeasedRunner[_Job]):
    """`start` it, `wake` it when there is something new, `drain` it at the end."""

    def __init__(self, records: TaskRecords, jobs: Jobs, name: str, poll: float = POLL_SECONDS) -> None:
        """`name`: of this process, the same after a restart."""
        super().__init__("tasks", poll)
        self._records = records
        self._handlers = jobs.handlers
        self._periodic = jobs.periodic
        self._name = name

    async def drain(self, seconds: float) -> None:
        """Takes no more, lets handlers end for `seconds`, breaks off the rest, and gives back what is left."""
        self._draining = True
        self.wake()
        await self._work.finished(seconds)
        await self._work.aclose(END_SECONDS)
        await self._tasks.aclose()
        with contextlib.suppress(Unavailable):
            await self._records.give_back([job.claim for job in self._jobs.values()])

    async def once(self) -> int:
        """Does all that is due but what comes again, and what that makes due; how many attempts that were."""
        kinds = [kind for kind in self._handlers if kind not in self._periodic]
        count = 0
        while claims := await self._records.claim(self._name, CONCURRENCY, kinds):
            for claim in claims:
                await self._attempt(claim)
            count += len(claims)
        return count

    async def _begin(self) -> None:
        await self._records.begin(self._name)
        for kind, every in self._periodic.items():
            await self._records.ensure(kind, every)

    async def _take(self) -> int:
        room = CONCURRENCY - len(self._jobs)
        if room <= 0:
            return 0
        since = time.monotonic()
        claims = await self._records.claim(self._name, room, list(self._handlers))
        if self._draining:
            await self._records.give_back(claims)
            return 0
        for claim in claims:
            job = self._jobs[claim.task.id] = _Job(claim, since)
            job.work = self._work.start(self._do(job), claim.task.kind)
        return len(claims)

    async def _do(self, job: _Job) -> None:
        await self._attempt(job.claim)
        # Not when it was broken off: then the lease is given back at the end, or is another's.
        if self._jobs.get(job.claim.task.id) is job:
            del self._jobs[job.claim.task.id]
        self._woken.set()

    async def _attempt(self, claim: TaskClaim) -> None:
        task = claim.task
        begun = time.monotonic()
        try:
            result = await self._handlers[task.kind](Run(task, claim, self._records))
            await self._records.finish(claim, result)
        except TaskLost:
            event(self._logger, logging.WARNING, "lease lost", id=task.id, kind=task.kind)
        except DuckmailError as error:
            if error.temporary or task.every:
                event(self._logger, logging.WARNING, "task put off", id=task.id, kind=task.kind, fields=error.fields)
                await self._put_off(claim, error.text)
            else:
                event(self._logger, logging.WARNING, "task failed", id=task.id, kind=task.kind, reason=error.text)
                await self._quietly(self._records.fail(claim, error.text))
        except Exception as error:
            event(self._logger, logging.ERROR, "task put off", exc_info=True, id=task.id, kind=task.kind)
            await self._put_off(claim, type(error).__name__)
        else:
            level = logging.DEBUG if task.every else logging.INFO
            ms = round((time.monotonic() - begun) * 1000, 1)
            event(self._logger, level, "task done", id=task.id, kind=task.kind, ms=ms)

    async def _put_off(self, claim: TaskClaim, error: str) -> None:
        await self._quietly(self._records.put_off(claim, error, datetime.now(UTC) + wait(claim.task)))

    @staticmethod
    async def _quietly(write: Awaitable[None]) -> None:
        with contextlib.suppress(TaskLost, Unavailable):  # the lease ends by itself
            await write

    async def _renew(self, jobs: Iterable[_Job]) -> set[str]:
        return await self._records.renew([job.claim for job in jobs])

    def _stop(self, key: str, job: _Job) -> None:
        del self._jobs[key]  # what becomes of it is another's to say
        job.stop()


def wait(task: Task) -> timedelta:
    """Until the next attempt: doubled each time, one fifth longer or shorter."""
    seconds = min(FIRST_WAIT * 2 ** min(task.attempts - 1, 20), LONGEST_WAIT)
    return timedelta(seconds=seconds * random.uniform(0.8, 1.2))  # noqa: S311 -- no secret
