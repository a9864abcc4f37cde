"""Removed accounts: for how long they can be had back, and their end.

A removal leaves the mailboxes as stubs that are `held`: nobody touches them until the removal is due. Its end is a
task with the removal's own id. What comes first decides: a restoring, which takes the task away, or the task, which
marks the removal as `ending` before it deletes anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from bson.int64 import Int64
from bson.objectid import ObjectId
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from duckmail.errors import AccountExists, InUse, NotFound
from duckmail.model.events import Told, nobody
from storage.changes.base import Key
from storage.changes.purge import Purge
from storage.committer import Committer
from storage.grants import Grants
from storage.mongo.client import Database, Document, object_id, operation
from storage.mongo.schema import Migration
from storage.mongo.transactions import Transactions
from storage.tasks import new_document
from storage.traces import Traces
from storage.userfiles import UserFiles

KIND = "user-delete"  # of the task
BATCH = 1_000

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("queue", [("user", 1)], {"partialFilterExpression": {"user": {"$exists": True}}}),
)

# What belongs to an account beside its mailboxes and messages, and goes with it: collections whose `user` is indexed.
OWNED: tuple[str, ...] = (
    "archived",
    "expunged",
    "addressregister",
    "annotations",
    "asps",
    "authlog",
    "autoreplies",
    "filters",
    "positions",
    "queue",
    "tokens",
    "traces",
    "urlkeys",
    "webauthnkeys",
    "webhooks",
)
# What names an account and stays, with the reason.
LEFT: Mapping[str, str] = {
    "audits": "who audits has to answer for it, until the audit expires",
    "auditmails": "as audits",
    "deliveries": "fingerprints of deliveries, gone after a day",
    "maildrops": "locks, gone after an hour",
    "tasks": "what was done, its own removal among it; gone after seven days",
    "textindex": "what may be in which message, gone with the mailbox within minutes",
    "threads": "fingerprints of message ids, gone after 180 days",
    "totpcodes": "codes that were used, gone within minutes",
    "storage.files": "files, which nobody owns from then on; swept after a day",
    "webauthnchallenges": "asked for, gone within minutes",
    "webhookjobs": "events to be told, its own removal among them; gone after a day",
    "undos": "copies under way, taken back by housekeeping",
}


async def _plan_ends(database: Database) -> None:
    """Removals of a server that had no tasks."""
    async with operation(600):
        async for record in database["deletedusers"].find({}, {"user": 1, "due": 1}):
            plan = end_task(record["_id"], str(record["user"]), record["due"])
            await database["tasks"].update_one({"_id": record["_id"]}, {"$setOnInsert": plan}, upsert=True)


def end_task(removal: ObjectId, user: str, due: datetime) -> Document:
    """The task that brings a removal to its end, ready to insert."""
    return new_document(KIND, {}, user=user, due=due, identifier=removal)


MIGRATIONS = (Migration(3, "the end of removed accounts is a task", _plan_ends),)


@dataclass(frozen=True, slots=True)
class Removed:
    """An account that can be had back. `addresses`: those it had. `used`: octets. `main`: its main address."""

    id: str
    user: str
    username: str
    tags: tuple[str, ...]
    deleted: datetime
    addresses: tuple[str, ...]
    main: str
    used: int


@dataclass(frozen=True, slots=True)
class Restored:
    """`pending`: the end of the account was put off to a time of its own. `addresses`: that were free still."""

    task: str
    pending: bool
    addresses: int
    main: str


class Removals:
    def __init__(self, database: Database, transactions: Transactions) -> None:
        self._database = database
        self._transactions = transactions
        self._files = UserFiles(database)
        self._grants = Grants(database, transactions)
        self._traces = Traces(database)

    async def get(self, user: str) -> Removed:
        """Raises: NotFound, Unavailable."""
        owner = object_id(user)
        async with operation():
            record = await self._database["deletedusers"].find_one({"user": owner, **_NOT_ENDING})
            if record is None:
                raise NotFound("Account data was not found")
            group: list[Document] = [
                {"$match": {"user": owner}},
                {"$group": {"_id": None, "used": {"$sum": "$size"}}},
            ]
            rows = await (await self._database["mailboxes"].aggregate(group)).to_list(None)
        account = record["account"]
        return Removed(
            id=str(record["_id"]),
            user=user,
            username=account["username"],
            tags=tuple(account.get("tags", ())),
            deleted=record["deleted"],
            addresses=tuple(address["address"] for address in record["addresses"]),
            main=account.get("address", ""),
            used=int(rows[0]["used"]) if rows else 0,
        )

    async def restore(self, user: str, told: Told = nobody) -> Restored:
        """Gives the account back with its mail, and with those of its addresses that nobody else has now.

        Raises: NotFound, InUse (it is being deleted), AccountExists (or its name is taken), Unavailable, ...
        """
        owner = object_id(user)

        async def run(session: AsyncClientSession) -> Restored:
            deleted = self._database["deletedusers"]
            record = await deleted.find_one_and_delete({"user": owner, **_NOT_ENDING}, session=session)
            if record is None:
                if await deleted.find_one({"user": owner}, {"_id": 1}, session=session) is not None:
                    raise InUse("User deletion has already begun")
                raise NotFound("Account data was not found")
            await self._database["tasks"].delete_one({"_id": record["_id"]}, session=session)
            free = await self._free(record["addresses"], session)
            account = {**record["account"], "authVersion": Int64(int(record["account"].get("authVersion", 0)) + 1)}
            if account.get("address") and account["address"] not in {address["address"] for address in free}:
                account["address"] = free[0]["address"] if free else ""
            try:
                await self._database["users"].insert_one(account, session=session)
            except DuplicateKeyError as error:
                raise AccountExists("The user account already exists") from error
            if free:
                await self._database["addresses"].insert_many(free, session=session)
            stubs = {"user": owner, "held": record["_id"]}
            revive = {"$set": {"path": "$was", "modseq": {"$add": ["$modseq", Int64(1)]}}}
            await self._database["mailboxes"].update_many(
                stubs, [revive, {"$unset": ["gone", "was", "held"]}], session=session
            )
            pending = "deleteAfter" in record
            return Restored(str(record["_id"]), pending, len(free), account.get("address", ""))

        return await self._transactions.run(run, lambda _: told(user))

    async def _free(self, addresses: list[Document], session: AsyncClientSession) -> list[Document]:
        views = [address["addrview"] for address in addresses]
        cursor = self._database["addresses"].find({"addrview": {"$in": views}}, {"addrview": 1}, session=session)
        taken = {row["addrview"] for row in await cursor.to_list(None)}
        return [address for address in addresses if address["addrview"] not in taken]

    async def end(self, removal: str, committer: Committer) -> dict[str, int]:
        """Deletes all that there is of a removed account; what went, by collection. May be repeated, and goes on where
        it was. One that was restored meanwhile loses nothing.

        Raises: NotFound (not an id), Unavailable, CommitUnknown.
        """
        identifier = object_id(removal)
        owner = await self._begin(identifier)
        if owner is None:
            return {}
        gone = {"messages": await self._purge(identifier, owner, committer)}
        for name in OWNED:
            gone[name] = await self._clear(name, {"user": owner})
        gone["tracepages"] = await self._traces.forget(str(owner))
        gone["mailboxes"] = await self._clear("mailboxes", {"user": owner})
        await self._grants.withdraw(str(owner))
        await self._files.disown(owner)
        async with operation():
            await self._database["deletedusers"].delete_one({"_id": identifier})
        return gone

    async def _begin(self, removal: ObjectId) -> ObjectId | None:
        """From now on there is no way back; whose removal it is, None when it is none any more."""

        async def run(session: AsyncClientSession) -> ObjectId | None:
            record = await self._database["deletedusers"].find_one_and_update(
                {"_id": removal}, {"$set": {"ending": True}}, projection={"user": 1}, session=session
            )
            if record is None:
                return None
            # Those that were deleted before the account was: housekeeping leaves held ones alone.
            stubs = {"user": record["user"], "path": {"$exists": False}}
            await self._database["mailboxes"].update_many(stubs, {"$set": {"held": removal}}, session=session)
            found: ObjectId = record["user"]
            return found

        return await self._transactions.run(run)

    async def _purge(self, removal: ObjectId, owner: ObjectId, committer: Committer) -> int:
        query = {"user": owner, "held": removal}
        async with operation():
            stubs = await self._database["mailboxes"].find(query, {"_id": 1}).to_list(None)
        messages = 0
        for stub in stubs:
            while gone := await committer.submit(Purge(Key(owner, stub["_id"]), removal)):
                messages += gone
        return messages

    async def _clear(self, name: str, query: Document) -> int:
        """Deletes in batches, so that no statement takes long; how many documents."""
        gone = 0
        while True:
            async with operation():
                rows = await self._database[name].find(query, {"_id": 1}).limit(BATCH).to_list(None)
                if rows:
                    ids = {"$in": [row["_id"] for row in rows]}
                    gone += (await self._database[name].delete_many({"_id": ids, **query})).deleted_count
            if len(rows) < BATCH:
                return gone


_NOT_ENDING: Document = {"ending": {"$exists": False}}
