"""What `duckmail doctor` tells about the databases."""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pymongo.errors import OperationFailure
from redis.asyncio import Redis
from redis.exceptions import RedisError

from duckmail.errors import Unavailable
from storage.mongo.client import Client, operation

REDIS_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Facts:
    """`topology`: `replica set`, `sharded cluster` or `standalone`. `transaction_seconds`: how long the server keeps an
    open transaction; 0 when it does not tell. `clock_ahead`: seconds that its clock is ahead of ours."""

    version: str
    topology: str
    transaction_seconds: int
    clock_ahead: float


async def facts(client: Client) -> Facts:
    """Raises: Unavailable."""
    async with operation(10.0):
        version = str((await client.admin.command("buildInfo"))["version"])
        begun, moment = time.monotonic(), datetime.now(UTC)
        hello = await client.admin.command("hello")
        moment += timedelta(seconds=(time.monotonic() - begun) / 2)
        try:
            parameter = await client.admin.command({"getParameter": 1, "transactionLifetimeLimitSeconds": 1})
            seconds = int(parameter["transactionLifetimeLimitSeconds"])
        except OperationFailure:  # a mongos has no such parameter, a hosted service may forbid to ask
            seconds = 0
    topology = "sharded cluster" if hello.get("msg") == "isdbgrid" else "replica set" if "setName" in hello else ""
    local: datetime = hello["localTime"]
    ahead = (local.replace(tzinfo=UTC) - moment).total_seconds()
    return Facts(version, topology or "standalone", seconds, ahead)


async def redis_version(redis: Redis) -> str:
    """Name and version of the server, `Valkey 9.1.2`. Raises: Unavailable."""
    try:
        async with asyncio.timeout(REDIS_SECONDS):
            found = await redis.info("server")
    except (RedisError, OSError, TimeoutError) as error:
        raise Unavailable("Redis does not answer", error=type(error).__name__) from error
    if "valkey_version" in found:
        return f"Valkey {found['valkey_version']}"
    return f"Redis {found.get('redis_version', 'of unknown version')}"
