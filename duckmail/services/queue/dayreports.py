"""Reports of this server to other domains: once for each day that is over, when the domain asks for them."""

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

from duckmail.errors import DuckmailError
from duckmail.model.queue import Notify, Origin, OutboundEnvelope, QueueRecipient
from duckmail.runtime.log import event
from duckmail.services.queue.queue import NewMail, Queue
from duckmail.services.tasks.runner import Jobs, Run
from storage.store import Store

LOOK_EVERY = timedelta(hours=1)
MOST_AT_ONCE = 500  # domains in one look
TRIES = timedelta(days=3)  # how long a report that cannot be handed over is tried

_logger = logging.getLogger("duckmail.reports")


class Results(Protocol):
    """What is needed of `storage.daycounts.DayCounts`."""

    async def domains(self, before: date, most: int, /) -> list[tuple[date, str]]: ...

    async def remove(self, day: date, domain: str, /) -> None: ...


class DayReports(ABC):
    """`kind`: of the job, and the first part of the address that reports come from. `hostname`: who reports."""

    def __init__(self, kind: str, results: Results, store: Store, queue: Queue, hostname: str) -> None:
        self._kind = kind
        self._days = results
        self._contents = store.contents
        self._queue = queue
        self._hostname = hostname
        self._contact = f"{kind}@{hostname}"

    def jobs(self) -> Jobs:
        return Jobs({self._kind: self.look}, {self._kind: LOOK_EVERY})

    async def look(self, _: Run) -> Mapping[str, object]:
        """Raises: Unavailable."""
        return await self.report(datetime.now(UTC).date())

    async def report(self, today: date) -> Mapping[str, int]:
        """Sends what is known of the days before `today`; of how many domains and days it was sent, unwanted, put off.

        A report that is made again, after a crash, has the same id: mail is not queued twice, and who gets it in
        another way can tell. Raises: Unavailable.
        """
        done = {"sent": 0, "unwanted": 0, "put off": 0}
        for day, domain in await self._days.domains(today, MOST_AT_ONCE):
            try:
                sent = await self._send(day, domain)
            except DuckmailError as error:
                event(_logger, logging.INFO, "a report waits", kind=self._kind, domain=domain, fields=error.fields)
                done["put off"] += 1
                if today - day < TRIES:
                    continue
            else:
                done["sent" if sent else "unwanted"] += 1
            await self._days.remove(day, domain)
        return done

    @abstractmethod
    async def _send(self, day: date, domain: str) -> bool:
        """Whether the domain wants it. Raises: DuckmailError: at least one did not get it."""

    async def _mail(self, identifier: str, to: str, raw: bytes) -> None:
        """Into the queue, once for each `identifier` and address. Raises: Unavailable."""
        content = await self._contents.prepare(raw)
        # The null sender: what cannot be delivered is told to nobody.
        recipients = [QueueRecipient(to, Notify.NEVER)]
        key = hashlib.sha256(f"{identifier} {to}".encode()).digest()
        await self._queue.submit(NewMail("", Origin.REPORT, OutboundEnvelope(""), recipients, content, key=key))
