"""Waiting for a condition, with a patience that a slow and crowded machine does not use up."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from redis import Redis

from storage.mongo.client import Client

PATIENCE = 30.0  # seconds; what is waited for comes at once, or never


async def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Looks until `condition` holds. Raises: TimeoutError."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def subscribers(redis_url: str, pattern: str = "*u:*") -> int:
    """How many processes hear what is told of an account: of the one among these channels that most listen to."""
    with Redis.from_url(redis_url) as client:
        names = client.pubsub_channels(pattern)
        return max((count for _, count in client.pubsub_numsub(*names)), default=0)


@contextmanager
def redis_has_time() -> Iterator[None]:
    """What is opened within does not take Redis for lost, and count alone, because it has no turn for a moment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("storage.redis.presence.CALL_SECONDS", PATIENCE)
        patch.setattr("storage.redis.client.SECONDS", PATIENCE)
        yield


@asynccontextmanager
async def transactions_stand(client: Client) -> AsyncIterator[None]:
    """As production has it: a transaction that nobody ends holds its documents for a minute, the embedded servers' 5 s
    are over sooner. That is longer than any change tries, so one that succeeds did not wait for MongoDB to give up."""
    limit: dict[str, object] = {"setParameter": 1, "transactionLifetimeLimitSeconds": 60}
    before = (await client.admin.command(limit))["was"]
    try:
        yield
    finally:
        await client.admin.command({**limit, "transactionLifetimeLimitSeconds": before})
