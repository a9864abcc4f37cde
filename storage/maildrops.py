"""Who has an account's maildrop: one POP3 session at a time, over all processes (RFC 1939 §4).

One document for each session, a lease of 10 s. A process renews those of all its sessions in one statement every 3 s,
so the maildrops of a process that died are free again within 10 s. Times are the server's own (`$$NOW`), not ours.
"""

import asyncio
import contextlib
import logging
from dataclasses import dataclass

from bson.objectid import ObjectId
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from duckmail.errors import InUse, Unavailable
from storage.mongo.client import Database, Document, object_id, operation

log = logging.getLogger("duckmail.storage")

RENEW_SECONDS = 3.0
LEASE_MS = 10_000
FORGET_SECONDS = 3_600  # after which what a dead process left is removed

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("maildrops", [("expires", 1)], {"expireAfterSeconds": FORGET_SECONDS}),
)

_EXPIRY: Document = {"$add": ["$$NOW", LEASE_MS]}
# A document that is just being made has no `expires`, and what is missing is less than any time.
_TAKEN: Document = {"$gt": ["$expires", "$$NOW"]}


@dataclass(frozen=True, slots=True)
class Lock:
    """One session's hold on one maildrop. `owner`: its own, unlike any other."""

    user: ObjectId
    owner: ObjectId

    @property
    def query(self) -> Document:
        return {"_id": self.user, "owner": self.owner}


class MaildropLocks:
    """`keep` has to run, as a task, for as long as there are sessions."""

    def __init__(self, database: Database) -> None:
        self._maildrops = database["maildrops"]
        self._held: set[Lock] = set()

    async def acquire(self, user: str) -> Lock:
        """Raises: InUse: another session has it. Unavailable."""
        mine = Lock(object_id(user), ObjectId())
        # Taken or not is decided by the statement that takes it.
        update = {
            "owner": {"$cond": [_TAKEN, "$owner", mine.owner]},
            "expires": {"$cond": [_TAKEN, "$expires", _EXPIRY]},
        }
        try:
            async with operation():
                found = await self._maildrops.find_one_and_update(
                    {"_id": mine.user}, [{"$set": update}], upsert=True, return_document=ReturnDocument.AFTER
                )
        except Unavailable as error:
            if isinstance(error.__cause__, DuplicateKeyError):  # two upserts at once: the other one has it
                raise _in_use() from error
            raise
        if found is None or found["owner"] != mine.owner:
            raise _in_use()
        self._held.add(mine)
        return mine

    async def confirm(self, lock: Lock) -> None:
        """Renews it now. Raises: InUse: this process stalled, and it is not this session's any more. Unavailable."""
        async with operation():
            renewed = await self._maildrops.update_one(lock.query, [{"$set": {"expires": _EXPIRY}}])
        if not renewed.matched_count:
            raise _in_use()

    async def release(self, lock: Lock) -> None:
        """Gives it up; when the database does not answer, it runs out."""
        self._held.discard(lock)
        with contextlib.suppress(Unavailable):
            async with operation(2):
                await self._maildrops.delete_one(lock.query)

    async def keep(self) -> None:
        """Renews what the sessions of this process hold, until cancelled."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            held = list(self._held)
            if not held:
                continue
            query = {"_id": {"$in": [lock.user for lock in held]}, "owner": {"$in": [lock.owner for lock in held]}}
            try:
                async with operation(5):
                    await self._maildrops.update_many(query, [{"$set": {"expires": _EXPIRY}}])
            except Unavailable as error:
                log.warning("maildrop locks not renewed", extra={"fields": error.fields})


def _in_use() -> InUse:
    return InUse("The maildrop is in use by another session")
