"""Counts what came of TLS in this process, and adds it to what all processes know, now and then."""

import asyncio
import logging
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Protocol

from duckmail.errors import DuckmailError
from duckmail.model.transport import Session
from duckmail.runtime.log import event

EVERY_SECONDS = 60.0
MOST_KINDS = 5_000  # between two looks; others are not counted then

_logger = logging.getLogger("duckmail.transport")


class Records(Protocol):
    """What is needed of `storage.tlsresults.TlsResults`."""

    async def add(self, day: date, counts: Counter[Session], /) -> None: ...


class Results:
    """`note` is called for each session; `keep` runs beside, and `flush` comes last."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._counts: Counter[Session] = Counter()

    def note(self, session: Session) -> None:
        """One session with a server."""
        kind = replace(session, detail="")
        if kind in self._counts or len(self._counts) < MOST_KINDS:
            self._counts[kind] += 1

    async def keep(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """What cannot be written now is not counted: a report is no ledger."""
        counts, self._counts = self._counts, Counter()
        try:
            await self._records.add(datetime.now(UTC).date(), counts)
        except DuckmailError as error:
            event(_logger, logging.WARNING, "results of TLS are lost", kinds=len(counts), fields=error.fields)
