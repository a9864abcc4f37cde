"""Octets that accounts fetch within a day, of all processes: counted in memory, added to the counters in batches.

A command costs nothing but an addition. What a process has counted is in Redis within `FLUSH_SECONDS`, in one round
trip for all accounts; what the others have counted is looked up again after `FRESH_SECONDS`. What is lost with a
process, or with Redis, is lost to nobody's harm (P5).
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from time import monotonic

from storage.redis.counters import Count, Counters

DAY = 24 * 3600  # seconds; each counter starts with the first octet
FLUSH_SECONDS = 1.0
FRESH_SECONDS = 5.0
MOST = 10_000  # counters that are remembered, beside those that are not added yet

NOTHING = Count()


@dataclass(slots=True)
class _Entry:
    """`known`: what the counter said last, good until `until`. `own`: octets that it does not have yet, and `flying`
    those that are being added."""

    known: Count = NOTHING
    until: float = 0.0
    own: int = 0
    flying: int = 0


class Traffic:
    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._waiting: set[str] = set()
        self._bell = asyncio.Event()

    def took(self, key: str, octets: int) -> None:
        """Counts; never waits."""
        if octets:
            self._entry(key).own += octets
            self._waiting.add(key)
            self._bell.set()

    async def used(self, key: str) -> Count:
        """What is counted today, of other processes as of a moment ago."""
        entry = self._entry(key)
        if entry.until <= monotonic():
            entry.known = await self._counters.get(key)
            entry.until = monotonic() + FRESH_SECONDS
        return Count(entry.known.value + entry.own + entry.flying, entry.known.ttl)

    async def flush(self) -> None:
        """Adds to the counters what they do not have."""
        entries = {key: self._entries[key] for key in self._waiting}
        self._waiting.clear()
        if not entries:
            return
        amounts = {key: entry.own for key, entry in entries.items()}
        for entry in entries.values():
            entry.own, entry.flying = 0, entry.flying + entry.own
        for key, count in (await self._counters.add(amounts, DAY)).items():
            entry = entries[key]
            entry.flying -= amounts[key]
            entry.known, entry.until = count, monotonic() + FRESH_SECONDS

    def forget(self, key: str) -> None:
        """What the counter said last: it is looked up the next time."""
        if key in self._entries:
            self._entries[key].until = 0.0

    async def keep(self) -> None:
        """Adds what is counted, in time; until cancelled."""
        while True:
            await self._bell.wait()
            self._bell.clear()
            await self.flush()
            await asyncio.sleep(FLUSH_SECONDS)

    def _entry(self, key: str) -> _Entry:
        entry = self._entries.get(key)
        if entry is None:
            while len(self._entries) >= MOST and next(iter(self._entries)) not in self._waiting:
                self._entries.popitem(last=False)
            entry = self._entries[key] = _Entry()
        self._entries.move_to_end(key)
        return entry
