"""Counts what is seen in this process, and adds it to what all processes know, now and then."""

import asyncio
import logging
from collections import Counter
from collections.abc import Hashable, Mapping
from datetime import UTC, date, datetime
from typing import Generic, Protocol, TypeVar

from duckmail.errors import DuckmailError
from duckmail.runtime.log import event

EVERY_SECONDS = 60.0
MOST_KINDS = 5_000  # between two looks; others are not counted then

_logger = logging.getLogger("duckmail.reports")

Kind = TypeVar("Kind", bound=Hashable)


class Records(Protocol[Kind]):
    """What is needed of `storage.daycounts.DayCounts`."""

    async def add(self, day: date, counts: Mapping[Kind, int], /) -> None: ...


class Tally(Generic[Kind]):
    """`note` is called for each; `keep` runs beside, and `flush` comes last. `name`: of what it counts, for the log."""

    def __init__(self, records: Records[Kind], name: str) -> None:
        self._records = records
        self._name = name
        self._counts: Counter[Kind] = Counter()

    def note(self, kind: Kind) -> None:
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
            event(
                _logger,
                logging.WARNING,
                "results are lost",
                of=self._name,
                kinds=len(counts),
                fields=error.fields,
            )
