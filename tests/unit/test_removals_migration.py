"""Migration 3: the end of accounts that were removed before there were tasks."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from duckmail.services.access import SYSTEM
from storage.mongo.client import object_id
from tests.support.house import House, open_house


@pytest.fixture
async def house(mongo_uri: str, database_name: str) -> AsyncIterator[House]:
    async with open_house(mongo_uri, database_name) as opened:
        yield opened


async def test_accounts_removed_by_an_older_version_come_to_their_end(house: House) -> None:
    store, database = house.services.store, house.services.store.database
    early, late, living = [await house.make_user(name) for name in ("early", "late", "living")]
    past, future = (datetime.now(UTC) + timedelta(days=days) for days in (-1, 9))
    for user, due in ((early, past), (late, future)):
        await house.services.users.delete(user, SYSTEM, due)
    # As that version left it: removals without a task.
    await database["tasks"].delete_many({"kind": "user-delete"})
    await database["schema"].update_one({"_id": "version"}, {"$set": {"version": 2}})
    assert [step.version for step in await store.schema.pending()] == [3]
    await store.schema.upgrade()
    assert await store.schema.version() == 3
    planned = await database["tasks"].find({"kind": "user-delete"}).to_list(None)
    removals = {row["_id"]: row for row in await database["deletedusers"].find({}).to_list(None)}
    assert {task["_id"]: task["due"] for task in planned} == {key: row["due"] for key, row in removals.items()}
    # A process that died in it begins anew, and changes nothing.
    await store.schema._migrations[-1].run(database)
    assert await database["tasks"].find({"kind": "user-delete"}).to_list(None) == planned
    assert await house.work() == 1
    assert await database["mailboxes"].count_documents({"user": object_id(early)}) == 0
    assert await database["deletedusers"].distinct("user") == [object_id(late)]
    # The later one can still be had back, and its task goes with that.
    assert (await house.call("POST", f"/users/{late}/restore", {})).status == 200
    assert await database["tasks"].count_documents({"user": object_id(late)}) == 0
    assert set(await store.users.many([early, late, living])) == {late, living}
