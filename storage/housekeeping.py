"""What must be brought to its end after a crash, and what ages: a task that comes again and again does it.

- A deleted mailbox is a stub whose messages are still to be archived; one of a removed account is held for its task.
- A COPY beyond one transaction has an undo record until its last chunk; one whose process is gone is taken back.
- Tombstones older than their keep are pruned; the mailbox's `vanishedfloor` rises in the same transaction.
- Messages that were given a time to expire are archived when it has come.
- Archived messages older than their keep are dropped, and stubs of which no tombstone tells any more; files that
  belong to nobody are swept.

What fails is logged and left for the next time; it keeps nothing else from being done.
"""

import logging
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta

from bson.objectid import ObjectId

from duckmail.errors import DuckmailError
from duckmail.model.settings import Settings
from storage.changes.archive import ArchiveStub
from storage.changes.base import CHUNK, Key
from storage.changes.expunge import Expunge
from storage.changes.prune import Prune
from storage.committer import Committer
from storage.mongo.client import Database, Document, operation
from storage.sweep import Sweep, Swept
from storage.textindex import sweep as sweep_index
from storage.userfiles import UserFiles

log = logging.getLogger("duckmail.storage")

KEEP_TOMBSTONES = timedelta(days=90)
KEEP_ARCHIVED = timedelta(days=25)
MILLISECOND = timedelta(milliseconds=1)
LONGEST = timedelta(days=365_000) // MILLISECOND
BATCH = 100
EXPIRED_AT_ONCE = 500  # messages; what is left waits for the next round

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("expunged", [("at", 1)], {}),
    ("archived", [("archived", 1)], {}),
)


class Housekeeping:
    def __init__(self, database: Database, committer: Committer, settings: Settings | None = None) -> None:
        self._database = database
        self._settings = settings or Settings()
        self._committer = committer
        self._sweep = Sweep(database)
        self._files = UserFiles(database)

    async def once(self) -> None:
        """All of it now."""
        await quietly(self.archive_stubs(), "archiving deleted mailboxes")
        await quietly(self.take_back(), "taking back copies")
        await quietly(self.expire_messages(), "expiring messages")
        await quietly(self.prune_tombstones(), "pruning tombstones")
        await quietly(self.drop_stubs(), "dropping stubs")
        await quietly(self.drop_archived(), "dropping archived messages")
        await quietly(self._files.sweep(), "dropping files of nobody")
        await quietly(sweep_index(self._database), "dropping the index of mailboxes that are gone")

    async def sweep(self) -> Swept:
        """Removes what nobody names any more. Raises: Unavailable."""
        return await self._sweep.run()

    async def archive_stubs(self) -> None:
        """Moves the messages of deleted mailboxes to `archived`."""
        async with operation():
            query = {"gone": {"$exists": True}, "messages": {"$gt": 0}, "held": {"$exists": False}}
            stubs = await self._database["mailboxes"].find(query).to_list(BATCH)
        for stub in stubs:
            await quietly(archive_stub(self._committer, Key(stub["user"], stub["_id"])), "archiving a deleted mailbox")

    async def take_back(self) -> None:
        """Undoes copies whose process died before their last chunk."""
        async with operation():
            alive = [row["_id"] for row in await self._database["leases"].find({}, {"_id": 1}).to_list(None)]
            undos = await self._database["undos"].find({"lease": {"$nin": alive}}).to_list(BATCH)
        for undo in undos:
            await quietly(take_back(self._database, self._committer, undo["_id"]), "taking back a copy")

    async def expire_messages(self) -> None:
        """Those whose own time has come go to `archived`."""
        async with operation():
            cursor = self._database["messages"].find(
                {"expires": {"$lt": datetime.now(UTC)}}, {"_id": 0, "user": 1, "mailbox": 1, "uid": 1}
            )
            rows = await cursor.limit(EXPIRED_AT_ONCE).to_list(None)
        by_mailbox: dict[Key, list[int]] = {}
        for row in rows:
            by_mailbox.setdefault(Key(row["user"], row["mailbox"]), []).append(int(row["uid"]))
        for key, uids in by_mailbox.items():
            await quietly(self._committer.submit(Expunge(key, sorted(uids), any_flags=True)), "expiring messages")

    async def prune_tombstones(self) -> None:
        horizon = datetime.now(UTC) - KEEP_TOMBSTONES
        async with operation():
            cursor = self._database["expunged"].find({"at": {"$lt": horizon}}, {"user": 1, "mailbox": 1})
            old = await cursor.to_list(BATCH)
        for user, mailbox in {(row["user"], row["mailbox"]) for row in old}:
            await quietly(self._committer.submit(Prune(Key(user, mailbox), horizon)), "pruning a mailbox")

    async def drop_stubs(self) -> None:
        """Deleted mailboxes that are empty, and of which no tombstone tells any more."""
        horizon = datetime.now(UTC) - KEEP_TOMBSTONES
        async with operation():
            query = {"gone": {"$lt": horizon}, "messages": 0, "held": {"$exists": False}}
            for stub in await self._database["mailboxes"].find(query, {"user": 1}).to_list(BATCH):
                tombstone = {"user": stub["user"], "mailbox": stub["_id"]}
                if await self._database["expunged"].find_one(tombstone, {"_id": 1}) is None:
                    await self._database["mailboxes"].delete_one({"_id": stub["_id"], "user": stub["user"]})

    async def drop_archived(self) -> None:
        # No longer than a millennium: a date must come of it.
        kept = min(self._settings.literal("const:archive:time", KEEP_ARCHIVED // MILLISECOND), LONGEST)
        old = {"archived": {"$lt": datetime.now(UTC) - kept * MILLISECOND}}
        while True:
            async with operation():
                rows = await self._database["archived"].find(old, {"_id": 1}).limit(CHUNK).to_list(None)
                if rows:
                    await self._database["archived"].delete_many({"_id": {"$in": [row["_id"] for row in rows]}, **old})
            if len(rows) < CHUNK:
                return


async def quietly(work: Awaitable[object], what: str) -> None:
    try:
        await work
    except DuckmailError as error:
        log.warning("housekeeping: %s failed", what, extra={"fields": error.fields})


async def archive_stub(committer: Committer, key: Key) -> None:
    """Empties one deleted mailbox, in transactions of at most 1,000 messages."""
    while await committer.submit(ArchiveStub(key)):
        pass


async def take_back(database: Database, committer: Committer, undo: ObjectId) -> None:
    """Removes what an unfinished copy had put into its target, then its record.

    The record is marked first: a copier that was only slow, not dead, can add nothing behind that, nor finish.
    """
    async with operation():
        record = await database["undos"].find_one_and_update({"_id": undo}, {"$set": {"taken": True}})
    if record is None:
        return
    key = Key(record["user"], record["mailbox"])
    for first, last in record["uids"]:
        for start in range(int(first), int(last) + 1, CHUNK):
            uids = range(start, min(start + CHUNK, int(last) + 1))
            try:
                await committer.submit(Expunge(key, uids, any_flags=True, archive=False))
            except DuckmailError as error:
                if error.temporary:
                    raise
    async with operation():
        await database["undos"].delete_one({"_id": undo})


def new_undo(key: Key, lease: ObjectId) -> Document:
    """The record of a copy under way: the target, whose it is, and the UIDs its chunks have made so far."""
    return {"_id": ObjectId(), "user": key.user, "mailbox": key.mailbox, "lease": lease, "uids": []}
