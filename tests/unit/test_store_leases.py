"""A dead process blocks no mailbox: its sessions are ended when its lease has run out, or when its slot starts anew."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from bson.int64 import Int64
from bson.objectid import ObjectId
from pymongo.asynchronous.client_session import AsyncClientSession

from storage.leases import LEASE_MS, Lease, Slot
from storage.mongo.client import Database, connect, database
from storage.mongo.transactions import Transactions
from tests.support.waiting import transactions_stand


@asynccontextmanager
async def process(mongo_uri: str, name: str, slot: str) -> AsyncIterator[tuple[Database, Transactions, Lease]]:
    client = connect(mongo_uri)
    db = database(client, name)
    transactions = Transactions(client, 2)
    lease = Lease(db, transactions, Slot(slot))
    await lease.acquire()
    try:
        yield db, transactions, lease
    finally:
        await transactions.aclose()
        await client.close()


async def hold(db: Database, transactions: Transactions, document: ObjectId) -> AsyncClientSession:
    """Leaves a transaction open that has written `document`, as a process that died would."""
    session = await transactions._idle.get()
    await session.start_transaction()
    await db["mailboxes"].update_one({"_id": document}, {"$inc": {"modseq": Int64(1)}}, session=session)
    return session


async def increment(db: Database, transactions: Transactions, document: ObjectId) -> None:
    async def body(session: AsyncClientSession) -> None:
        await db["mailboxes"].update_one({"_id": document}, {"$inc": {"modseq": Int64(1)}}, session=session)

    await transactions.run(body)


@pytest.mark.parametrize(
    "same_slot", [True, False], ids=["restarted-in-its-slot", "another-process-sees-the-lease-end"]
)
async def test_sessions_of_the_dead_are_ended(mongo_uri: str, database_name: str, same_slot: bool) -> None:
    document = ObjectId()
    async with process(mongo_uri, database_name, "one") as (db, transactions, _), transactions_stand(db.client):
        await db["mailboxes"].insert_one({"_id": document, "modseq": Int64(1)})
        await hold(db, transactions, document)
        slot = "one" if same_slot else "two"
        async with process(mongo_uri, database_name, slot) as (other, others, lease):
            if not same_slot:
                assert await lease.end_expired() == 0
                await asyncio.sleep(LEASE_MS / 1000 + 0.2)
                assert await lease.end_expired() == 1
            await increment(other, others, document)
            found = await other["mailboxes"].find_one({"_id": document})
            assert found is not None
            assert found["modseq"] == 2


async def test_a_living_process_keeps_its_lease(mongo_uri: str, database_name: str) -> None:
    async with (
        process(mongo_uri, database_name, "one") as (_, _, living),
        process(mongo_uri, database_name, "two") as (db, _, lease),
    ):
        keeping = asyncio.get_running_loop().create_task(living.keep())
        await asyncio.sleep(LEASE_MS / 1000 + 1)
        assert await lease.end_expired() == 0
        assert await db["leases"].count_documents({}) == 2
        keeping.cancel()
