"""Several commands in one write: in their order, each with its reply, none taken for another's."""

import asyncio
from collections.abc import AsyncIterator

import pymongo
import pytest
from bson.objectid import ObjectId
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import AutoReconnect, BulkWriteError, NetworkTimeout, OperationFailure, PyMongoError

from duckmail.runtime.tasks import Tasks
from storage.mongo import commands, pipeline
from storage.mongo.client import Client, Database, database
from storage.mongo.pipeline import Command
from tests.support.proxy import Loss, Proxy

LATER = {"w": "majority", "j": True}


@pytest.fixture
async def db(client: Client, database_name: str) -> Database:
    opened = database(client, database_name)
    for name in ("things", "others"):
        await opened.create_collection(name)
    return opened


@pytest.fixture
async def session(client: Client) -> AsyncIterator[AsyncClientSession]:
    async with client.start_session(causal_consistency=False) as opened:
        await opened.start_transaction()
        yield opened


def _things(session: AsyncClientSession, *numbers: int) -> Command:
    return commands.insert("things", [{"_id": number} for number in numbers], session)


def _others(*numbers: int) -> Command:
    return commands.insert_new("others", [{"_id": number} for number in numbers], LATER)


async def _count(db: Database) -> dict[str, int]:
    return {name: await db[name].count_documents({}) for name in ("things", "others")}


async def test_they_are_carried_out_in_their_order(db: Database, session: AsyncClientSession) -> None:
    number = commands.update("things", [{"q": {"_id": 1}, "u": {"$set": {"n": 1}}}], session, required=1)
    await pipeline.run(db, [_things(session, 1), _others(7), number, _others(7, 8)])
    assert await _count(db) == {"things": 0, "others": 2}
    await session.commit_transaction()
    assert await db["things"].find_one({}) == {"_id": 1, "n": 1}


async def test_nothing_to_do(db: Database) -> None:
    await pipeline.run(db, [])
    assert await _count(db) == {"things": 0, "others": 0}


async def test_one_that_fails_takes_its_transaction_with_it(db: Database, session: AsyncClientSession) -> None:
    """What stands behind it in the transaction fails too; the error is the first one."""
    await db["things"].insert_one({"_id": 1})
    with pytest.raises(PyMongoError) as caught:
        await pipeline.run(db, [_things(session, 2), _things(session, 1), _others(7), _things(session, 3)])
    assert "duplicate key" in str(caught.value)
    with pytest.raises(OperationFailure):
        await session.commit_transaction()
    assert await _count(db) == {"things": 1, "others": 1}


async def test_one_beside_the_transaction_that_fails_is_told(db: Database, session: AsyncClientSession) -> None:
    """So that nobody commits what names it."""
    await db.command("collMod", "others", validator={"must": {"$exists": True}})
    with pytest.raises(BulkWriteError):
        await pipeline.run(db, [_things(session, 1), _others(7)])
    await session.abort_transaction()
    assert await _count(db) == {"things": 0, "others": 0}


async def test_an_update_has_to_find_what_it_is_for(db: Database, session: AsyncClientSession) -> None:
    await db["things"].insert_one({"_id": 1, "n": 1})
    updates = [{"q": {"_id": number, "n": 1}, "u": {"$inc": {"n": 1}}} for number in (1, 2)]
    with pytest.raises(pipeline.Unmatched):
        await pipeline.run(db, [commands.update("things", updates, session, required=2), _things(session, 1)])
    await session.abort_transaction()


@pytest.mark.parametrize("loss", Loss)
async def test_the_connection_is_lost_between_two(
    db: Database, session: AsyncClientSession, wire: Proxy, loss: Loss
) -> None:
    wire.lose("update", loss)
    number = commands.update("things", [{"q": {"_id": 1}, "u": {"$set": {"n": 1}}}], session)
    with pytest.raises(AutoReconnect) as caught:
        await pipeline.run(db, [_things(session, 1), number, _others(7)])
    assert caught.value.has_error_label("TransientTransactionError")
    assert (await _count(db))["things"] == 0


async def test_time_runs_out(db: Database, session: AsyncClientSession, wire: Proxy) -> None:
    wire.moving.clear()
    with pytest.raises(NetworkTimeout), pymongo.timeout(0.3):
        await pipeline.run(db, [_things(session, 1), _others(7)])
    wire.moving.set()
    await pipeline.run(db, [_others(9)])  # by another connection: no reply is taken for that of another command


async def test_who_asks_is_cancelled(db: Database, session: AsyncClientSession, wire: Proxy, tasks: Tasks) -> None:
    wire.moving.clear()
    asking = tasks.start(pipeline.run(db, [_things(session, 1), _others(7)]), "asking")
    await asyncio.sleep(0.05)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    wire.moving.set()
    await pipeline.run(db, [_others(9)])
    assert await db["others"].find_one({"_id": 9}) == {"_id": 9}


async def test_what_cannot_be_encoded_leaves_the_connection_as_it_is(db: Database) -> None:
    with pytest.raises(Exception, match="cannot encode"):
        await pipeline.run(db, [_others(7), commands.insert_new("others", [{"_id": object()}], LATER)])
    await pipeline.run(db, [commands.insert_new("others", [{"_id": ObjectId()}], LATER)])
    assert (await _count(db))["others"] == 1


async def test_a_commit(client: Client, db: Database, session: AsyncClientSession) -> None:
    await pipeline.run(db, [_things(session, 1)])
    assert await pipeline.commit(client, session, LATER)
    assert not session.in_transaction
    await session.start_transaction()  # the session is as after a commit of the driver's
    await pipeline.run(db, [_things(session, 2)])
    await session.commit_transaction()
    assert (await _count(db))["things"] == 2


async def test_a_commit_without_a_command(client: Client, db: Database, session: AsyncClientSession) -> None:
    assert not await pipeline.commit(client, session, LATER)
    await session.commit_transaction()
    assert (await _count(db))["things"] == 0


@pytest.mark.parametrize("loss", Loss)
async def test_a_commit_is_lost(
    client: Client, db: Database, session: AsyncClientSession, wire: Proxy, loss: Loss
) -> None:
    await pipeline.run(db, [_things(session, 1)])
    wire.lose("commitTransaction", loss)
    assert not await pipeline.commit(client, session, LATER)
    await session.commit_transaction()
    assert (await _count(db))["things"] == 1


async def test_a_commit_of_what_was_aborted(client: Client, db: Database, session: AsyncClientSession) -> None:
    await pipeline.run(db, [_things(session, 1)])
    await client.admin.command("killSessions", [{"id": session.session_id["id"]}])
    assert not await pipeline.commit(client, session, LATER)
    with pytest.raises(OperationFailure) as caught:
        await session.commit_transaction()
    assert caught.value.has_error_label("TransientTransactionError")
