"""Whether the databases do what is asked of them, by doing it."""

import asyncio
import secrets
from datetime import UTC, datetime

from redis.asyncio import Redis
from redis.exceptions import RedisError

from duckmail.errors import Unavailable
from storage.mongo.client import Database, operation

MONGO_SECONDS = 5.0
REDIS_SECONDS = 2.0


class Health:
    def __init__(self, database: Database, redis: Redis | None, prefix: str = "duckmail:") -> None:
        """`redis`: None when none is configured. `prefix`: of all keys in it."""
        self._database = database
        self._redis = redis
        self._prefix = prefix

    async def problem(self) -> str:
        """What does not work, one line; "" when all does."""
        try:
            async with operation(MONGO_SECONDS):
                await self._database.command("ping")
        except Unavailable:
            return "DB is down"
        try:
            async with operation(MONGO_SECONDS):
                await self._database["health"].update_one(
                    {"_id": "health"}, {"$set": {"checked": datetime.now(UTC)}}, upsert=True
                )
        except Unavailable:
            return "Could not write to DB"
        return "" if self._redis is None else await self._redis_problem(self._redis)

    async def _redis_problem(self, redis: Redis) -> str:
        key, value = f"{self._prefix}health:{secrets.token_hex(8)}", secrets.token_hex(8).encode()
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                await redis.ping()
        except (RedisError, OSError, TimeoutError):
            return "Redis is down"
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                await redis.set(key, value, ex=10)
                found = await redis.get(key)
        except (RedisError, OSError, TimeoutError):
            return "Redis is not writeable/readable"
        same = found in (value, value.decode())
        return "" if same else "Redis is not writeable/readable"
