"""Health says what is so, and in time."""

import time
from pathlib import Path

import pytest
from redis.asyncio import Redis

from duckmail.model.health import Health as Found
from storage.health import Health
from storage.mongo.client import connect, database
from storage.redis.client import connect as connect_redis
from tests.support.stores import open_store

MOST_SECONDS = 6.0


async def test_all_is_well(mongo_uri: str, database_name: str, redis_url: str) -> None:
    async with open_store(mongo_uri, database_name, redis_url) as store:
        assert await store.health.check() == Found("", "")
        assert await store.health.problem() == ""
    async with open_store(mongo_uri, database_name) as store:
        assert await store.health.check() == Found("", None)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        pytest.param(-1, "DB has no current schema", id="older"),
        pytest.param(1, "", id="an-upgrade-goes-from-machine-to-machine"),
        pytest.param(None, "DB has no current schema", id="dropped"),
    ],
)
async def test_schema(mongo_uri: str, database_name: str, step: int | None, said: str) -> None:
    async with open_store(mongo_uri, database_name) as store:
        version = store.database["schema"]
        if step is None:
            await version.delete_one({"_id": "version"})
        else:
            await version.update_one({"_id": "version"}, {"$inc": {"version": step}})
        assert await store.health.problem() == said


async def test_nobody_answers(tmp_path: Path, database_name: str) -> None:
    client = connect("mongodb://127.0.0.1:1/")
    redis: Redis = connect_redis(f"unix://{tmp_path}/nobody.sock")
    began = time.monotonic()
    try:
        assert await Health(database(client, database_name), redis).check() == Found("DB is down", "Redis is down")
    finally:
        await client.close()
        await redis.aclose()
    assert time.monotonic() - began < MOST_SECONDS


async def test_a_database_that_takes_no_writes(mongo_uri: str, database_name: str) -> None:
    """What answers every ping may still be full, or without a majority."""
    client = connect(mongo_uri)
    try:
        db = database(client, database_name)
        await db.create_collection("health", validator={"_id": {"$exists": False}})
        assert (await Health(db, None).check()).problem == "Could not write to DB"
    finally:
        await client.close()
