"""The database servers a command works on: the configured ones, or embedded ones that run while it does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from duckmail.app.ground import Databases
from duckmail.config.schema import Config
from storage.embedded.servers import Addresses, Embedded, running
from storage.mongo.client import require_answer

ANSWER_SECONDS = 4.0  # in which somebody at a terminal is told that MongoDB is not there


@asynccontextmanager
async def databases(config: Config, *, attach: bool) -> AsyncIterator[Databases]:
    """Where MongoDB and Redis are; embedded servers run while the context is open.

    `attach`: use the embedded servers of a duckmail that runs on the same data folder, and say soon when a configured
    MongoDB is not there. Raises: EmbeddedError, Unavailable.
    """
    if attach and not config.embedded_mongo:
        await require_answer(config.mongo.uri.get_secret_value(), ANSWER_SECONDS)
    if not config.embedded_mongo and not config.embedded_redis:
        yield _chosen(config, Addresses("", ""))
        return
    found = running(config.server.data) if attach else None
    if found is not None:
        yield _chosen(config, found)
        return
    async with Embedded(config.server.data, mongod=config.embedded_mongo, valkey=config.embedded_redis) as servers:
        yield _chosen(config, servers.addresses)


def _chosen(config: Config, embedded: Addresses) -> Databases:
    return Databases(
        embedded.mongo_uri if config.embedded_mongo else config.mongo.uri.get_secret_value(),
        embedded.redis_url if config.embedded_redis else config.redis_url,
    )
