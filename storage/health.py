"""Whether the databases do what is asked of them, by doing it."""

import asyncio
import secrets
from datetime import UTC, datetime

from redis.asyncio import Redis
from redis.exceptions import RedisError

from duckmail.errors import Unavailable
from duckmail.model.health import Health as Found
from storage.mongo.client import Database, operation
from storage.mongo.schema import Schema

# All of MongoDB's together, beside Redis's: under the 6 s that a caller waits at most.
PING_SECONDS = 2.0
WRITE_SECONDS = 3.0
REDIS_SECONDS = 2.0


class Health:
    def __init__(
        self, database: Database, redis: Redis | None, prefix: str = "duckmail:", schema: Schema | None = None
    ) -> None:
        """`redis`: None when none is configured. `prefix`: of all keys in it. `schema`: what the database must have."""
        self._database = database
        self._redis = redis
        self._prefix = prefix
        self._schema = schema

    async def problem(self) -> str:
        """What does not work, one line; "" when all does."""
        return (await self.check()).problem

    async def check(self) -> Found:
        """Looks at everything, within 6 seconds; never raises for what is down."""
        async with asyncio.TaskGroup() as tasks:
            mongo = tasks.create_task(self._mongo_problem())
            redis = tasks.create_task(self._redis_problem(self._redis)) if self._redis is not None else None
        return Found(mongo.result(), redis.result() if redis is not None else None)

    async def _mongo_problem(self) -> str:
        try:
            async with operation(PING_SECONDS):
                await self._database.command("ping")  # on the primary
        except Unavailable:
            return "DB is down"
        try:
            async with operation(WRITE_SECONDS):
                # Acknowledged by the disks of a majority, as the mail is.
                await self._database["health"].update_one(
                    {"_id": "health"}, {"$set": {"checked": datetime.now(UTC)}}, upsert=True
                )
                version = await self._schema.version() if self._schema is not None else None
        except Unavailable:
            return "Could not write to DB"
        # A newer one is that of an upgrade which goes from machine to machine; an older one, or none: not our database.
        if self._schema is not None and (version or 0) < self._schema.latest:
            return "DB has no current schema"
        return ""

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
