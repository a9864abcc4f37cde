"""Processes that die or stall: what they held is free soon, and who was only slow does no harm."""

import asyncio
import sys

import pytest
from bson.objectid import ObjectId

from duckmail.errors import Unavailable
from duckmail.model.account import NO_QUOTA
from duckmail.model.message import FlagChange, FlagOperation, NewMessage
from duckmail.model.ranges import Ranges
from duckmail.services.mail import Mail
from storage.changes.copy import ATOMIC, Copy
from storage.housekeeping import take_back
from storage.leases import LEASE_MS
from storage.store import Store, key
from tests.support.stores import message, new_account, open_store, put
from tests.support.waiting import transactions_stand

ALL = Ranges(((1, 4_294_967_295),))
HOUR_MS = 3_600_000

# Holds a mailbox in an open transaction, says so, and stays.
HOLDING = """
import asyncio, sys
from bson.objectid import ObjectId
from storage import leases
from tests.support.stores import open_store

uri, name, mailbox, lease = sys.argv[1:]
leases.LEASE_MS = int(lease)

async def hold(session):
    await store.database["mailboxes"].update_one(
        {"_id": ObjectId(mailbox)}, {"$inc": {"modseq": 1}}, session=session)
    print("held", flush=True)
    await asyncio.sleep(60)

async def main():
    global store
    async with open_store(uri, name, slot="holder") as store:
        await store.transactions.once(hold)

asyncio.run(main())
"""

# Is in the middle of a migration, says so, and stays.
MIGRATING = """
import asyncio, sys
from storage.mongo.client import connect, database
from storage.mongo.schema import Migration, Schema

async def stay(_):
    print("migrating", flush=True)
    await asyncio.sleep(60)

async def main():
    schema = Schema(database(connect(sys.argv[1]), sys.argv[2]), (), (), (Migration(1, "slow", stay),))
    schema.pending = lambda: asyncio.sleep(0, schema._migrations)
    await schema.upgrade()

asyncio.run(main())
"""


async def killed_at(script: str, word: str, *argv: str) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, *argv, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == f"{word}\n".encode()
    process.kill()
    await process.wait()


@pytest.mark.parametrize("who", ["another process", "the restarted one"])
async def test_a_dead_process_blocks_no_mailbox_for_long(mongo_uri: str, database_name: str, who: str) -> None:
    async with open_store(mongo_uri, database_name, slot="one") as store, transactions_stand(store.client):
        principal = await new_account(store)
        mail = Mail(store, principal)
        inbox = await mail.mailbox("INBOX")
        lease = LEASE_MS if who == "another process" else HOUR_MS
        await killed_at(HOLDING, "held", mongo_uri, database_name, inbox.id, str(lease))
        if who == "the restarted one":
            # Its lease would last for an hour: nobody else ends its sessions.
            async with open_store(mongo_uri, database_name, slot="holder"):
                await put(mail, "INBOX", [1])
        else:
            await put(mail, "INBOX", [1])


async def test_who_dies_in_a_migration_holds_up_the_next_start_for_seconds(
    mongo_uri: str, new_database_name: str
) -> None:
    await killed_at(MIGRATING, "migrating", mongo_uri, new_database_name)
    async with (
        asyncio.timeout(90),
        open_store(mongo_uri, new_database_name) as store,
    ):  # 600 s without the end of its lease
        assert await store.database["schema"].count_documents({"_id": "lease"}) == 0


async def test_who_was_taken_for_dead_has_a_lease_again(mongo_uri: str, database_name: str) -> None:
    async with open_store(mongo_uri, database_name) as store:
        leases = store.database["leases"]
        recorded = await leases.find_one({"_id": store.lease.id})
        await leases.delete_one({"_id": store.lease.id})
        await store.lease.renew()
        again = await leases.find_one({"_id": store.lease.id})
        assert recorded is not None
        assert again is not None
        assert {**again, "expires": 0} == {**recorded, "expires": 0}
        assert len(again["sessions"]) > 1


async def fill(store: Store, mail: Mail) -> int:
    """More messages than one COPY transaction takes."""
    new = [NewMessage(await mail.prepare(message(1)))] * 700
    for _ in range(3):
        await mail.append("INBOX", new)
    assert len(new) * 3 > ATOMIC
    return len(new) * 3


async def test_a_stalled_copy_that_was_taken_back_is_not_answered_with_success(
    mongo_uri: str, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process takes its sessions' lease for expired in the middle, and removes what it has copied so far."""
    async with open_store(mongo_uri, database_name) as store:
        principal = await new_account(store)
        mail = Mail(store, principal)
        await mail.create("Other")
        await fill(store, mail)
        submit, chunks = store.committer.submit, 0

        async def stalling(change: object) -> object:
            nonlocal chunks
            if isinstance(change, Copy):
                chunks += 1
                if chunks == 2:
                    undo = await store.database["undos"].find_one({})
                    assert undo is not None
                    await take_back(store.database, store.committer, undo["_id"])
            return await submit(change)  # type: ignore[arg-type]

        monkeypatch.setattr(store.committer, "submit", stalling)
        listener = _Deaf()
        view = await mail.open("INBOX", listener)
        with pytest.raises(Unavailable):
            await mail.copy(view, ALL, "Other")
        other = await mail.mailbox("Other")
        assert chunks >= 2
        assert (other.messages, other.size) == (0, 0)
        query = {"user": ObjectId(principal.user), "mailbox": ObjectId(other.id)}
        assert await store.database["messages"].count_documents(query) == 0
        assert await store.database["undos"].count_documents({}) == 0
        mail.close_view(view, listener)


async def test_a_copy_that_cannot_be_taken_back_now_is_taken_back_later(
    mongo_uri: str, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store(mongo_uri, database_name) as store:
        principal = await new_account(store)
        mail = Mail(store, principal)
        other = await mail.create("Other")
        await put(mail, "INBOX", range(3))
        failures = [Unavailable(), Unavailable()]
        submit = store.committer.submit

        async def failing(change: object) -> object:
            if type(change).__name__ == "Expunge" and failures:
                raise failures.pop()
            return await submit(change)  # type: ignore[arg-type]

        monkeypatch.setattr(store.committer, "submit", failing)
        inbox = await mail.mailbox("INBOX")
        keys = key(principal.user, inbox.id), key(principal.user, other.id)

        async def interrupted() -> None:
            async with store.undo(principal.user, other.id) as undo:
                await submit(Copy(*keys, [1, 2], NO_QUOTA, undo))
                raise RuntimeError("in the middle")

        with pytest.raises(RuntimeError, match="in the middle"):
            await interrupted()
        assert (await mail.mailbox("Other")).messages == 2
        async with asyncio.timeout(10):
            while (await mail.mailbox("Other")).messages:
                await asyncio.sleep(0.1)
        assert failures == []
        assert (await mail.mailbox("INBOX")).messages == 3
        view = await mail.open("INBOX", listener := _Deaf())
        await mail.store_flags(view, ALL, FlagChange(FlagOperation.ADD, ("\\Seen",)))
        mail.close_view(view, listener)


class _Deaf:
    def view_changed(self, expunged: object) -> None:
        """Hears nothing."""
