"""Removed accounts: for how long they can be had back, and their end.

A removal leaves the mailboxes as stubs that are `held`: nothing of them is archived until the removal is `due`. What
comes first decides: a restoring, or the release of the stubs to housekeeping, which archives their messages.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from bson.int64 import Int64
from bson.objectid import ObjectId
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from duckmail.errors import AccountExists, NotFound
from storage.mongo.client import Database, Document, object_id, operation
from storage.mongo.transactions import Transactions
from storage.userfiles import UserFiles

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (("deletedusers", [("due", 1)], {}),)

# What belongs to an account beside its mail, and goes with it.
_OWNED = ("asps", "tokens")


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

    async def get(self, user: str) -> Removed:
        """Raises: NotFound, Unavailable."""
        owner = object_id(user)
        async with operation():
            record = await self._database["deletedusers"].find_one({"user": owner}, sort=[("_id", -1)])
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

    async def restore(self, user: str) -> Restored:
        """Gives the account back with its mail, and with those of its addresses that nobody else has now.

        Raises: NotFound, AccountExists (or its name is taken), Unavailable, CommitUnknown.
        """
        owner = object_id(user)

        async def run(session: AsyncClientSession) -> Restored:
            record = await self._database["deletedusers"].find_one_and_delete({"user": owner}, session=session)
            if record is None:
                raise NotFound("Account data was not found")
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

        return await self._transactions.run(run)

    async def _free(self, addresses: list[Document], session: AsyncClientSession) -> list[Document]:
        views = [address["addrview"] for address in addresses]
        cursor = self._database["addresses"].find({"addrview": {"$in": views}}, {"addrview": 1}, session=session)
        taken = {row["addrview"] for row in await cursor.to_list(None)}
        return [address for address in addresses if address["addrview"] not in taken]

    async def finish_due(self, limit: int) -> None:
        """Lets housekeeping archive the mail of those whose time is over; they cannot be had back any more."""
        query = {"due": {"$lte": datetime.now(UTC)}}
        async with operation():
            due = await self._database["deletedusers"].find(query, {"user": 1}).limit(limit).to_list(None)
        for record in due:
            await self._finish(record["_id"], record["user"])

    async def _finish(self, removal: ObjectId, owner: ObjectId) -> None:
        async def run(session: AsyncClientSession) -> None:
            found = await self._database["deletedusers"].find_one_and_delete({"_id": removal}, session=session)
            if found is None:  # restored meanwhile
                return
            stubs = {"user": owner, "held": removal}
            await self._database["mailboxes"].update_many(stubs, {"$unset": {"held": ""}}, session=session)
            for name in _OWNED:
                await self._database[name].delete_many({"user": owner}, session=session)
            await self._files.disown(owner, session)

        await self._transactions.run(run)
