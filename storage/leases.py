"""Who is alive: one lease per process, renewed every 2 s, with the ids of its write sessions.

A process that dies inside a transaction would hold its mailboxes for as long as MongoDB keeps the transaction open.
So every process ends the sessions of those whose lease has run out, and a restarted process those of its own slot: no
mailbox is blocked longer than 10 s by a dead process (P6). Times are the server's own (`$$NOW`), not ours.
"""

import asyncio
import contextlib
import logging
import os
from dataclasses import dataclass

from bson.binary import Binary
from bson.objectid import ObjectId

from duckmail.errors import Unavailable
from storage.mongo.client import Database, operation
from storage.mongo.transactions import Transactions

log = logging.getLogger("duckmail.storage")

RENEW_SECONDS = 2.0
LEASE_MS = 5_000

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (("leases", [("slot", 1)], {}),)


@dataclass(frozen=True, slots=True)
class Slot:
    """A name that a restarted process has again: host, data folder and worker number."""

    name: str


class Lease:
    """The lease of this process. `acquire` before the first write, `keep` as a task for as long as it runs."""

    def __init__(self, database: Database, transactions: Transactions, slot: Slot) -> None:
        self.id = ObjectId()
        self._leases = database["leases"]
        self._transactions = transactions
        self._slot = slot
        self._sessions: list[Binary] = []

    async def acquire(self) -> None:
        """Ends what an earlier process of this slot left open, and records this one."""
        self._sessions = self._transactions.start()
        async with operation():
            old = await self._leases.find({"slot": self._slot.name}).to_list(None)
        await self._end(old)
        await self.renew()

    async def renew(self) -> None:
        """Writes all of it: a process that stalled was taken for dead, and its record is gone."""
        document = {"slot": self._slot.name, "pid": os.getpid(), "sessions": self._sessions}
        update = [{"$set": {**{key: {"$literal": value} for key, value in document.items()}, **_expiry()}}]
        async with operation(5):
            await self._leases.update_one({"_id": self.id}, update, upsert=True)

    async def keep(self) -> None:
        """Renews the lease and ends the sessions of the dead, until cancelled."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await self.renew()
                await self.end_expired()
            except Unavailable as error:
                log.warning("lease not renewed", extra={"fields": error.fields})

    async def end_expired(self) -> int:
        """Ends the sessions of processes whose lease has run out; how many there were."""
        async with operation(5):
            query = {"$expr": {"$lt": ["$expires", "$$NOW"]}, "_id": {"$ne": self.id}}
            dead = await self._leases.find(query).to_list(100)
        await self._end(dead)
        return len(dead)

    async def _end(self, leases: list[dict[str, object]]) -> None:
        for lease in leases:
            sessions = lease.get("sessions")
            if isinstance(sessions, list) and not await self._transactions.kill([Binary(s, 4) for s in sessions]):
                continue  # the lease stays: it is what names the sessions
            async with operation(5):
                await self._leases.delete_one({"_id": lease["_id"]})
            log.info("ended the sessions of a dead process", extra={"fields": {"slot": lease.get("slot")}})

    async def release(self) -> None:
        with contextlib.suppress(Unavailable):
            async with operation(2):
                await self._leases.delete_one({"_id": self.id})


def _expiry() -> dict[str, object]:
    return {"expires": {"$add": ["$$NOW", LEASE_MS]}}
