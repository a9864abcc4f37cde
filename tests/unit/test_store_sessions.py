"""The fixed sessions of a process come back whatever happens to who uses them, and leave nothing open behind them."""

import asyncio
import random
from collections.abc import AsyncIterator

import pymongo.lock
import pytest
from bson.int64 import Int64
from bson.objectid import ObjectId
from pymongo.asynchronous.client_session import AsyncClientSession

from duckmail.errors import TemporaryError
from storage.mongo.client import Database, connect, database
from storage.mongo.transactions import SESSIONS, Transactions
from tests.support.waiting import PATIENCE, transactions_stand


@pytest.fixture
async def db(mongo_uri: str, database_name: str) -> AsyncIterator[Database]:
    client = connect(mongo_uri)
    yield database(client, database_name)
    await client.close()


@pytest.fixture
async def transactions(db: Database) -> AsyncIterator[Transactions]:
    made = Transactions(db.client)
    made.start()
    yield made
    await made.aclose()


@pytest.fixture
async def document(db: Database) -> ObjectId:
    return (await db["mailboxes"].insert_one({"modseq": Int64(0)})).inserted_id


def increment(db: Database, transactions: Transactions, document: ObjectId) -> asyncio.Task[None]:
    async def body(session: AsyncClientSession) -> None:
        await db["mailboxes"].update_one({"_id": document}, {"$inc": {"modseq": Int64(1)}}, session=session)

    return asyncio.get_running_loop().create_task(transactions.run(body))


async def all_back(transactions: Transactions) -> None:
    async with asyncio.timeout(PATIENCE):
        while transactions._idle.qsize() < SESSIONS:
            await asyncio.sleep(0.01)


async def test_who_is_cancelled_again_and_again_costs_no_session(
    db: Database, transactions: Transactions, document: ObjectId
) -> None:
    chance = random.Random(4)
    for _ in range(60):
        task = increment(db, transactions, document)
        for _ in range(3):
            await asyncio.sleep(chance.random() * 0.004)
            task.cancel()
        await asyncio.wait([task])
    await all_back(transactions)
    async with transactions_stand(db.client):
        await asyncio.gather(*(increment(db, transactions, document) for _ in range(SESSIONS)))


async def test_a_session_whose_caller_vanished_holds_nothing(
    db: Database, transactions: Transactions, document: ObjectId
) -> None:
    """Not even when nobody uses it again."""
    other = Transactions(db.client, 1)
    other.start()
    reached = asyncio.Event()

    async def body(session: AsyncClientSession) -> None:
        await db["mailboxes"].update_one({"_id": document}, {"$inc": {"modseq": Int64(1)}}, session=session)
        reached.set()
        await asyncio.sleep(60)

    async with transactions_stand(db.client):
        task = asyncio.get_running_loop().create_task(other.run(body))
        await reached.wait()
        task.cancel()
        await increment(db, transactions, document)
    await other.aclose()


async def test_closing_ends_what_is_open(db: Database, transactions: Transactions, document: ObjectId) -> None:
    other = Transactions(db.client, 1)
    other.start()
    async with transactions_stand(db.client):
        session = await other._idle.get()
        await session.start_transaction()
        await db["mailboxes"].update_one({"_id": document}, {"$inc": {"modseq": Int64(1)}}, session=session)
        assert await other.aclose()
        await increment(db, transactions, document)


async def test_a_killed_session_is_as_good_as_new(db: Database, transactions: Transactions, document: ObjectId) -> None:
    async def body(session: AsyncClientSession) -> None:
        await db["mailboxes"].update_one({"_id": document}, {"$inc": {"modseq": Int64(1)}}, session=session)
        raise TemporaryError

    for _ in range(SESSIONS):
        with pytest.raises(TemporaryError):
            await transactions.run(body)
    await all_back(transactions)
    for _ in range(3):
        await asyncio.gather(increment(db, transactions, document))
    found = await db["mailboxes"].find_one({})
    assert found is not None
    assert found["modseq"] == 3


async def test_the_driver_gives_its_lock_back_to_the_next(db: Database) -> None:
    """Cancelled while the time to wait runs out, as by a client that hangs up: see `storage.mongo.client`."""
    lock = pymongo.lock._async_create_lock()
    condition = pymongo.lock._async_create_condition(lock, pymongo.lock.Condition)

    async def wait() -> None:
        async with lock:
            await pymongo.lock._async_cond_wait(condition, 0.01)

    waiting = asyncio.get_running_loop().create_task(wait())
    await asyncio.sleep(0.005)
    async with lock:
        await asyncio.sleep(0.02)  # its time is over, but it must have the lock to say so
        waiting.cancel()
        await asyncio.sleep(0)
    await asyncio.wait([waiting])
    await asyncio.sleep(0.01)
    assert waiting.cancelled()
    assert not lock.locked()
