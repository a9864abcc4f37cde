"""Posts what webhooks are to be told: many at once, few to the same one."""

import asyncio
import contextlib
import json
import logging
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

from duckmail.errors import DuckmailError, Unavailable
from duckmail.runtime.log import event
from duckmail.runtime.targetpasswords import TargetPasswords
from duckmail.runtime.tasks import Tasks
from storage.webhooks import WebhookJob, Webhooks

CONCURRENCY = 20  # posts of one process at once
PER_WEBHOOK = 3
POLL_SECONDS = 2.0
ATTEMPTS = 5
FIRST_WAIT = timedelta(seconds=2)  # each further one doubles it

_logger = logging.getLogger("duckmail.webhooks")


class Status(Protocol):
    @property
    def status(self) -> int: ...


class HttpClient(Protocol):
    """Posts by HTTP, where that is permitted."""

    async def post(self, url: str, body: bytes, size: int, headers: Mapping[str, str], /) -> Status:
        """Raises: Unavailable."""
        ...


class WebhookRunner:
    """`start` it, `wake` it when there is something new, `drain` it at the end."""

    def __init__(
        self, records: Webhooks, http: HttpClient, passwords: TargetPasswords, *, first: timedelta = FIRST_WAIT
    ) -> None:
        """`first`: wait after a failure."""
        self._records = records
        self._http = http
        self._passwords = passwords
        self._first = first
        self._running: Counter[str] = Counter()
        self._posts = Tasks("webhook-posts")
        self._tasks = Tasks("webhooks")
        self._woken = asyncio.Event()
        self._draining = False

    def start(self) -> None:
        self._tasks.start(self._run(), "runner")

    def wake(self) -> None:
        self._woken.set()

    async def drain(self, seconds: float) -> None:
        """Takes no more, and lets posts end for `seconds`; what is broken off is posted later by whoever is there."""
        self._draining = True
        self.wake()
        await self._tasks.aclose()
        await self._posts.finished(seconds)
        await self._posts.aclose()

    async def _run(self) -> None:
        while not self._draining:
            self._woken.clear()
            taken = False
            try:
                taken = await self._take()
            except DuckmailError as error:
                event(_logger, logging.WARNING, "webhooks cannot be read", fields=error.fields)
            if not taken:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._woken.wait()

    async def _take(self) -> bool:
        """Begins one post; whether there was one and room for it."""
        if self._running.total() >= CONCURRENCY:
            return False
        job = await self._records.claim([hook for hook, count in self._running.items() if count >= PER_WEBHOOK])
        if job is None:
            return False
        self._running[job.hook] += 1
        self._posts.start(self._do(job), job.hook)
        return True

    async def _do(self, job: WebhookJob) -> None:
        try:
            await self._post(job)
        except DuckmailError as error:  # the database; the job comes again by itself
            event(_logger, logging.WARNING, "webhook put off", hook=job.hook, fields=error.fields)
        finally:
            self._running[job.hook] -= 1
            if not self._running[job.hook]:
                del self._running[job.hook]
            self.wake()

    async def _post(self, job: WebhookJob) -> None:
        hook = await self._records.get(job.hook)
        if hook is None:
            await self._records.done(job)
            return
        status, reason = await self._sent(hook.url, job)
        if 200 <= status < 300:
            await self._records.done(job)
        elif status == 410:  # RFC 9110 §15.5.11: gone, and likely for good
            event(_logger, logging.INFO, "webhook removed", hook=job.hook, reason=reason)
            await self._records.delete(job.hook)
        elif job.attempts >= ATTEMPTS:
            event(_logger, logging.WARNING, "webhook given up", hook=job.hook, ev=job.body["ev"], reason=reason)
            await self._records.done(job)
        else:
            await self._records.put_off(job, self._first * 2 ** (job.attempts - 1))

    async def _sent(self, url: str, job: WebhookJob) -> tuple[int, str]:
        """The status, 0 for none, and it in words."""
        body = json.dumps(job.body, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json; charset=utf-8"}
        try:
            status = (await self._http.post(self._passwords.opened(url), body, len(body), headers)).status
        except Unavailable as error:
            return 0, error.text
        return status, f"HTTP {status}"
