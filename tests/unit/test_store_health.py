"""Health says what is so, and in time."""

import asyncio
from pathlib import Path

import pytest
from redis.asyncio import Redis

from duckmail.model.health import Health as Found
from storage.health import Health
from storage.mongo import client as module
from storage.mongo.client import connect, database
from storage.redis.client import connect as connect_redis
from tests.support.stores import open_store


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


async def test_nobody_answers(tmp_path: Path, database_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of the look ends it: by itself the client would look for a server for ten minutes."""
    monkeypatch.setattr(module, "SERVER_SELECTION_MS", 600_000)
    client = connect("mongodb://127.0.0.1:1/")
    redis: Redis = connect_redis(f"unix://{tmp_path}/nobody.sock")
    try:
        async with asyncio.timeout(60):
            assert await Health(database(client, database_name), redis).check() == Found("DB is down", "Redis is down")
    finally:
        await client.close()
        await redis.aclose()


async def test_a_database_that_takes_no_writes(mongo_uri: str, database_name: str) -> None:
    """What answers every ping may still be full, or without a majority."""
    client = connect(mongo_uri)
    try:
        db = database(client, database_name)
        await db.create_collection("health", validator={"_id": {"$exists": False}})
        assert (await Health(db, None).check()).problem == "Could not write to DB"
    finally:
        await client.close()
