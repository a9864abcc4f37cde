"""Takes tasks that are due under a lease, and lets their handlers run."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from duckmail.errors import DuckmailError, Unavailable
from duckmail.model.task import Task
from duckmail.runtime.log import event
from duckmail.runtime.tasks import Tasks
from storage.tasks import TaskClaim, TaskLost, TaskRecords

CONCURRENCY = 4  # tasks of one process at once
POLL_SECONDS = 2.0
RENEW_SECONDS = 10.0
# A lease lasts 60 s by the server's clock, and a renewal is at most 10 s under way: what has not been renewed for so
# long stops before another process may begin.
UNSURE_SECONDS = 35.0
END_SECONDS = 2.0
FIRST_WAIT = 5.0  # seconds after a failure; each further one doubles it
LONGEST_WAIT = 3600.0

_logger = logging.getLogger("duckmail.tasks")


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


class TaskRunner:
    """`start` it, `wake` it when there is something new, `drain` it at the end."""

    def __init__(self, records: TaskRecords, jobs: Jobs, name: str, poll: float = POLL_SECONDS) -> None:
        """`name`: of this process, the same after a restart."""
        self._records = records
        self._jobs = jobs
        self._name = name
        self._poll = poll
        self._running: dict[str, _Job] = {}
        self._work = Tasks("tasks-jobs")
        self._tasks = Tasks("tasks")
        self._woken = asyncio.Event()
        self._draining = False

    def start(self) -> None:
        self._tasks.start(self._run(), "runner")
        self._tasks.start(self._keep(), "leases")

    def wake(self) -> None:
        """There may be something to do."""
        self._woken.set()

    async def drain(self, seconds: float) -> None:
        """Takes no more, lets handlers end for `seconds`, breaks off the rest, and gives back what is left."""
        self._draining = True
        self.wake()
        await self._work.finished(seconds)
        await self._work.aclose(END_SECONDS)
        await self._tasks.aclose()
        with contextlib.suppress(Unavailable):
            await self._records.give_back([job.claim for job in self._running.values()])

    async def once(self) -> int:
        """Does all that is due but what comes again, and what that makes due; how many attempts that were."""
        kinds = [kind for kind in self._jobs.handlers if kind not in self._jobs.periodic]
        count = 0
        while claims := await self._records.claim(self._name, CONCURRENCY, kinds):
            for claim in claims:
                await self._attempt(claim)
            count += len(claims)
        return count

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
                event(_logger, logging.WARNING, "the tasks cannot be read", fields=error.fields)
            if not taken:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._poll):
                        await self._woken.wait()

    async def _begin(self) -> None:
        await self._records.begin(self._name)
        for kind, every in self._jobs.periodic.items():
            await self._records.ensure(kind, every)

    async def _take(self) -> int:
        """Begins as many as there is room for; how many. Raises: Unavailable."""
        room = CONCURRENCY - len(self._running)
        if room <= 0:
            return 0
        since = time.monotonic()
        claims = await self._records.claim(self._name, room, list(self._jobs.handlers))
        if self._draining:
            await self._records.give_back(claims)
            return 0
        for claim in claims:
            job = self._running[claim.task.id] = _Job(claim, since)
            job.work = self._work.start(self._do(job), claim.task.kind)
        return len(claims)

    async def _do(self, job: _Job) -> None:
        await self._attempt(job.claim)
        # Not when it was broken off: then the lease is given back at the end, or is another's.
        if self._running.get(job.claim.task.id) is job:
            del self._running[job.claim.task.id]
        self._woken.set()

    async def _attempt(self, claim: TaskClaim) -> None:
        task = claim.task
        begun = time.monotonic()
        try:
            result = await self._jobs.handlers[task.kind](Run(task, claim, self._records))
            await self._records.finish(claim, result)
        except TaskLost:
            event(_logger, logging.WARNING, "lease lost", id=task.id, kind=task.kind)
        except DuckmailError as error:
            if error.temporary or task.every:
                event(_logger, logging.WARNING, "task put off", id=task.id, kind=task.kind, fields=error.fields)
                await self._put_off(claim, error.text)
            else:
                event(_logger, logging.WARNING, "task failed", id=task.id, kind=task.kind, reason=error.text)
                await self._quietly(self._records.fail(claim, error.text))
        except Exception as error:
            event(_logger, logging.ERROR, "task put off", exc_info=True, id=task.id, kind=task.kind)
            await self._put_off(claim, type(error).__name__)
        else:
            level = logging.DEBUG if task.every else logging.INFO
            ms = round((time.monotonic() - begun) * 1000, 1)
            event(_logger, level, "task done", id=task.id, kind=task.kind, ms=ms)

    async def _put_off(self, claim: TaskClaim, error: str) -> None:
        await self._quietly(self._records.put_off(claim, error, datetime.now(UTC) + wait(claim.task)))

    @staticmethod
    async def _quietly(write: Awaitable[None]) -> None:
        with contextlib.suppress(TaskLost, Unavailable):  # the lease ends by itself
            await write

    async def _keep(self) -> None:
        """Renews the leases, and stops whoever may be without one; until cancelled."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            jobs = list(self._running.values())
            if not jobs:
                continue
            since = time.monotonic()
            try:
                held = await self._records.renew([job.claim for job in jobs])
            except Unavailable as error:
                event(_logger, logging.WARNING, "leases not renewed", fields=error.fields)
                held = {job.claim.task.id for job in jobs if since - job.renewed <= UNSURE_SECONDS}
                self._stop([job for job in jobs if job.claim.task.id not in held])
                continue
            for job in jobs:
                job.renewed = since
            self._stop([job for job in jobs if job.claim.task.id not in held])

    def _stop(self, jobs: list[_Job]) -> None:
        for job in jobs:
            if self._running.get(job.claim.task.id) is job:
                del self._running[job.claim.task.id]
                job.stop()


def wait(task: Task) -> timedelta:
    """Until the next attempt: doubled each time, one fifth longer or shorter."""
    seconds = min(FIRST_WAIT * 2 ** min(task.attempts - 1, 20), LONGEST_WAIT)
    return timedelta(seconds=seconds * random.uniform(0.8, 1.2))  # noqa: S311 -- no secret
