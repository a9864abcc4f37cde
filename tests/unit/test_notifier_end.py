"""The notifier's sender ends when it is cancelled, at whatever moment that comes."""

import asyncio

from storage.redis.client import connect
from storage.redis.notifier import Notifier


async def test_a_cancelled_sender_ends(redis_url: str, redis_prefix: str) -> None:
    """redis-py loses some cancellations: those that come while it connects or reads an answer."""
    redis = connect(redis_url)
    try:
        for step in range(25):
            notifier = Notifier(redis, redis, redis_prefix, "origin")
            notifier._outbox.append((f"{redis_prefix}u:x", "origin x 1"))
            notifier._outgoing.set()
            task = asyncio.get_running_loop().create_task(notifier.send())
            await asyncio.sleep(step * 0.0001)
            task.cancel()
            _, left = await asyncio.wait({task}, timeout=20)
            if left:
                task.cancel()
            assert not left, f"after {step * 0.1:.1f} ms"
    finally:
        await redis.aclose()
