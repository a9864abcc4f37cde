"""The schema: every step once, in order, by one process, whoever dies in the middle."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from bson.objectid import ObjectId

from duckmail.errors import Unavailable
from storage import catalog
from storage.mongo import schema
from storage.mongo.client import Database, connect, database
from storage.mongo.schema import Migration, Schema
from tests.support.house import open_house

INDEXES = (("things", [("name", 1)], {"unique": True}), ("things", [("size", 1)], {}))


@pytest.fixture
async def db(mongo_uri: str, new_database_name: str) -> AsyncIterator[Database]:
    client = connect(mongo_uri)
    yield database(client, new_database_name)
    await client.close()


class Steps:
    """Migrations that note when they ran; `failing`: versions that die in the middle, once."""

    def __init__(self, *versions: int, failing: tuple[int, ...] = (), seconds: float = 0.0) -> None:
        self.ran: list[int] = []
        self._failing = set(failing)
        self._seconds = seconds
        self.migrations = tuple(Migration(version, f"to {version}", self._step(version)) for version in versions)

    def _step(self, version: int):  # noqa: ANN202
        async def run(db: Database) -> None:
            self.ran.append(version)
            await db["things"].update_one({"_id": version}, {"$set": {"name": str(version)}}, upsert=True)
            await asyncio.sleep(self._seconds)
            if version in self._failing:
                self._failing.discard(version)
                raise Unavailable

        return run


def made(db: Database, steps: Steps, indexes: schema.Sequence[schema.IndexSpec] = INDEXES) -> Schema:
    return Schema(db, indexes, ["bare"], steps.migrations)


async def test_an_empty_database_gets_everything_and_no_migration(db: Database) -> None:
    steps = Steps(2, 3)
    new = made(db, steps)
    assert await new.version() is None
    assert await new.pending() == []
    await new.upgrade()
    assert steps.ran == []
    assert await new.version() == 3
    assert {"bare", "things"} <= set(await db.list_collection_names())
    assert await db["schema"].count_documents({"_id": "lease"}) == 0


async def test_migrations_run_in_order_once(db: Database) -> None:
    await made(db, Steps()).upgrade()
    assert await made(db, Steps()).version() == 1
    steps = Steps(4, 2, 3)
    newer = made(db, steps)
    assert [step.version for step in await newer.pending()] == [2, 3, 4]
    await newer.upgrade()
    await newer.upgrade()
    assert steps.ran == [2, 3, 4]
    later = Steps(2, 3, 4, 5)
    await made(db, later).upgrade()
    assert later.ran == [5]


async def test_who_dies_in_one_is_followed_from_there(db: Database) -> None:
    await made(db, Steps()).upgrade()
    steps = Steps(2, 3, 4, failing=(3,))
    with pytest.raises(Unavailable):
        await made(db, steps).upgrade()
    await made(db, steps).upgrade()
    assert steps.ran == [2, 3, 3, 4]
    assert await db["things"].count_documents({}) == 3


async def test_two_at_once_do_it_once(db: Database) -> None:
    await made(db, Steps()).upgrade()
    steps = Steps(2, 3, seconds=0.3)
    await asyncio.gather(*(made(db, steps).upgrade() for _ in range(3)))
    assert steps.ran == [2, 3]


async def test_a_new_index_is_made_without_a_new_version(db: Database) -> None:
    await made(db, Steps()).upgrade()
    await made(db, Steps(), (*INDEXES, ("things", [("colour", 1)], {}))).upgrade()
    assert "colour_1" in await db["things"].index_information()


async def test_an_older_program_refuses(db: Database) -> None:
    await made(db, Steps(2)).upgrade()
    await made(db, Steps(2, 3)).upgrade()
    with pytest.raises(Unavailable, match="newer than this program"):
        await made(db, Steps(2)).upgrade()


async def test_the_lease_of_the_dead_runs_out(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    await made(db, Steps()).upgrade()
    dead = {"_id": "lease", "owner": ObjectId(), "expires": datetime.now(UTC) + timedelta(seconds=1)}
    await db["schema"].insert_one(dead)
    steps = Steps(2)
    await made(db, steps).upgrade()
    assert steps.ran == [2]
    await db["schema"].insert_one({**dead, "expires": datetime.now(UTC) + timedelta(minutes=1)})
    monkeypatch.setattr(schema, "WAIT_SECONDS", 0.2)
    with pytest.raises(Unavailable, match="too long"):
        await made(db, Steps(2, 3)).upgrade()


async def test_a_server_at_rest_has_no_collection_but_those_of_the_schema(mongo_uri: str, database_name: str) -> None:
    """Another one would be made by a statement, which a transaction must not meet; and no database of a test could
    serve again."""
    async with open_house(mongo_uri, database_name) as house:
        found = await house.services.store.database.list_collection_names()
    assert set(found) == {*catalog.COLLECTIONS, *(collection for collection, _, _ in catalog.INDEXES)}
