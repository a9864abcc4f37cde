"""The notifier's listener misses nothing from the moment that it says it is there."""

import asyncio
import time

import redis

from storage.redis.client import connect
from storage.redis.notifier import Notifier


async def test_it_hears_of_all_accounts_before_anybody_looks_again(redis_url: str, redis_prefix: str) -> None:
    """Who is told of the connection reads the database: a change right after that must be heard."""
    client = connect(redis_url)
    other = redis.Redis.from_url(redis_url)
    notifier = Notifier(client, client, redis_prefix, "origin")
    notifier.watch("anna")
    channel = f"{redis_prefix}u:anna"
    found = asyncio.get_running_loop().create_future()

    def look() -> None:
        """Without leaving the loop a chance to do more."""
        until = time.monotonic() + 5
        while not (listeners := dict(other.pubsub_numsub(channel))[channel.encode()]) and time.monotonic() < until:
            time.sleep(0.01)
        found.set_result(listeners)

    notifier.reconnected = look
    task = asyncio.get_running_loop().create_task(notifier.listen())
    try:
        assert await asyncio.wait_for(found, 30) == 1
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=20)
        other.close()
        await client.aclose()
