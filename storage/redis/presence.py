"""How many sessions each account has in all processes, and connections each network.

Each process tells its own numbers, and tells them again before they are forgotten: those of a process that died are
gone soon (H10). Without Redis a process knows its own alone (P5).
"""

import asyncio
import logging
from collections.abc import Mapping
from time import monotonic, time

from redis.asyncio import Redis
from redis.exceptions import RedisError

from duckmail.runtime.log import event
from storage.redis.counters import CALL_SECONDS, DOWN_SECONDS

FORGOTTEN_SECONDS = 30

_logger = logging.getLogger("duckmail.storage.redis")


class Presence:
    def __init__(self, client: Redis | None, prefix: str, process: str) -> None:
        """`process`: a name that no other one has, and this one again after a restart: what it told before it died is
        then put right."""
        self._client = client
        self._prefix = f"{prefix}sessions:"
        self._process = process
        self._down_until = 0.0

    async def meet(self, numbers: Mapping[str, int]) -> dict[str, int]:
        """Tells the sessions of this process by account, and then gives those of the other processes that are known, in
        one round trip; 0 takes the account away."""
        client = self._available()
        if client is None or not numbers:
            return {}
        try:
            async with asyncio.timeout(CALL_SECONDS), client.pipeline(transaction=False) as pipeline:
                for user, number in numbers.items():
                    if number:
                        pipeline.hset(self._prefix + user, self._process, f"{number} {int(time())}")
                        pipeline.expire(self._prefix + user, FORGOTTEN_SECONDS)
                    else:
                        pipeline.hdel(self._prefix + user, self._process)
                for user in numbers:
                    pipeline.hgetall(self._prefix + user)
                told = (await pipeline.execute())[-len(numbers) :]
        except (RedisError, OSError, TimeoutError) as error:
            self._lost(error)
            return {}
        return {user: self._others(told) for user, told in zip(numbers, told, strict=True)}

    async def elsewhere(self, user: str) -> int:
        """Sessions of the account in the other processes."""
        client = self._available()
        if client is None:
            return 0
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return self._others(await client.hgetall(self._prefix + user))
        except (RedisError, OSError, TimeoutError) as error:
            self._lost(error)
            return 0

    def _others(self, told: Mapping[bytes | str, bytes | str]) -> int:
        oldest = time() - FORGOTTEN_SECONDS
        rows = [value.split() for process, value in told.items() if process != self._process.encode()]
        return sum(int(number) for number, at in rows if int(at) >= oldest)

    def _available(self) -> Redis | None:
        return None if monotonic() < self._down_until else self._client

    def _lost(self, error: Exception) -> None:
        self._down_until = monotonic() + DOWN_SECONDS
        event(_logger, logging.WARNING, "redis is away, counting sessions here alone", reason=type(error).__name__)
