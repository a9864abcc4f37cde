"""The Redis clients of a process. Redis is expendable (P5): every call is short, and nobody waits for a reconnect."""

from redis.asyncio import BlockingConnectionPool, Redis

POOL = 16
SECONDS = 0.5


def connect(url: str) -> Redis:
    """For commands: a bounded pool that makes callers wait briefly rather than fail, and short time-outs."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=POOL,
        timeout=SECONDS,
        socket_timeout=SECONDS,
        socket_connect_timeout=SECONDS,
        protocol=2,
    )
    return Redis.from_pool(pool)


def connect_subscriber(url: str) -> Redis:
    """For pub/sub alone: reads wait as long as it takes (a socket time-out would end the subscription)."""
    return Redis.from_url(
        url, socket_timeout=None, socket_connect_timeout=SECONDS, protocol=2, health_check_interval=15
    )
