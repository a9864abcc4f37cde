"""Counters over a window of time, for throttles: in Redis, and in the process's memory while Redis is away.

Redis is expendable (P5): each call waits at most `CALL_SECONDS` for it, then counts in memory, and for `DOWN_SECONDS`
nobody asks it again.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.exceptions import RedisError

from duckmail.runtime.log import event

_logger = logging.getLogger("duckmail.storage.redis")

CALL_SECONDS = 0.25
DOWN_SECONDS = 2.0
MOST_IN_MEMORY = 10_000  # counters; about 2 MB


@dataclass(frozen=True, slots=True)
class Count:
    """`ttl`: seconds until the counter starts again; 0 when there is none."""

    value: int = 0
    ttl: int = 0


class Counters:
    """Each counter starts with its first increment and is forgotten `window` seconds after that."""

    def __init__(self, client: Redis | None, prefix: str = "duckmail:") -> None:
        """`client`: None counts in memory alone. `prefix`: of all keys."""
        self._client = client
        self._prefix = f"{prefix}count:"
        self._memory = _Memory(MOST_IN_MEMORY)
        self._down_until = 0.0

    async def incr(self, key: str, window: int, by: int = 1) -> Count:
        """Adds `by`; the count after it. `window`: seconds."""
        client = self._available()
        if client is not None:
            try:
                # No MULTI, which costs a third more: what comes between does no harm, and a counter that was left
                # without an end gets it with the next increment.
                async with asyncio.timeout(CALL_SECONDS), client.pipeline(transaction=False) as pipeline:
                    name = self._prefix + key
                    pipeline.incrby(name, by)
                    pipeline.expire(name, window, nx=True)
                    pipeline.ttl(name)
                    value, _, ttl = await pipeline.execute()
                    return Count(int(value), max(int(ttl), 0))
            except (RedisError, OSError, TimeoutError) as error:
                self._lost(error)
        return self._memory.incr(key, window, by)

    async def add(self, amounts: Mapping[str, int], window: int) -> dict[str, Count]:
        """As `incr`, of many counters in one round trip; by key."""
        client = self._available()
        if client is not None:
            try:
                async with asyncio.timeout(CALL_SECONDS), client.pipeline(transaction=False) as pipeline:
                    for key, by in amounts.items():
                        name = self._prefix + key
                        pipeline.incrby(name, by)
                        pipeline.expire(name, window, nx=True)
                        pipeline.ttl(name)
                    found = await pipeline.execute()
                values, ttls = found[::3], found[2::3]
                return {
                    key: Count(int(value), max(int(ttl), 0))
                    for key, value, ttl in zip(amounts, values, ttls, strict=True)
                }
            except (RedisError, OSError, TimeoutError) as error:
                self._lost(error)
        return {key: self._memory.incr(key, window, by) for key, by in amounts.items()}

    async def get(self, key: str) -> Count:
        client = self._available()
        if client is not None:
            try:
                async with asyncio.timeout(CALL_SECONDS), client.pipeline(transaction=False) as pipeline:
                    pipeline.get(self._prefix + key)
                    pipeline.ttl(self._prefix + key)
                    value, ttl = await pipeline.execute()
                    return Count(int(value or 0), max(int(ttl), 0))
            except (RedisError, OSError, TimeoutError) as error:
                self._lost(error)
        return self._memory.get(key)

    async def clear(self, key: str) -> None:
        self._memory.clear(key)
        client = self._available()
        if client is not None:
            try:
                async with asyncio.timeout(CALL_SECONDS):
                    await client.delete(self._prefix + key)
            except (RedisError, OSError, TimeoutError) as error:
                self._lost(error)

    def _available(self) -> Redis | None:
        return None if time.monotonic() < self._down_until else self._client

    def _lost(self, error: Exception) -> None:
        self._down_until = time.monotonic() + DOWN_SECONDS
        event(_logger, logging.WARNING, "redis is away, counting in memory", reason=type(error).__name__)


class _Memory:
    """The same counters in a bounded dictionary: when it is full, the one that was started first goes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def incr(self, key: str, window: int, by: int) -> Count:
        now = time.monotonic()
        value, ends = self._live(key, now) or (0, now + window)
        if key not in self._counts and len(self._counts) >= self._most:
            self._counts.popitem(last=False)
        self._counts[key] = (value + by, ends)
        return Count(value + by, round(ends - now))

    def get(self, key: str) -> Count:
        now = time.monotonic()
        value, ends = self._live(key, now) or (0, now)
        return Count(value, round(ends - now))

    def clear(self, key: str) -> None:
        self._counts.pop(key, None)

    def _live(self, key: str, now: float) -> tuple[int, float] | None:
        entry = self._counts.get(key)
        if entry is not None and entry[1] <= now:
            del self._counts[key]
            return None
        return entry
