"""The ACL of mailboxes, an array in their documents, and what accounts have subscribed to of others' mailboxes.

A change of an ACL is a change of the mailbox: it counts the modseq up, by which every process that has the mailbox open
learns of it. Accounts are named by their ids, so a name that somebody else is given later gives nobody any right.
"""

from collections.abc import Callable, Sequence

from bson.int64 import Int64
from bson.objectid import ObjectId
from pymongo import ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession

from duckmail.errors import LimitReached, NoSuchMailbox
from duckmail.model.sharing import ANYONE, MAX_GRANTS, Grant
from storage.mongo.client import Database, Document, object_id, operation
from storage.mongo.transactions import Transactions

MAX_SUBSCRIBED = 3000  # mailboxes of others, by one account

Change = Callable[[Sequence[Grant]], Sequence[Grant]]


def to_grants(document: Document) -> tuple[Grant, ...]:
    """Of a mailbox document."""
    return tuple(Grant(str(entry["who"]), entry["rights"], entry["negative"]) for entry in document.get("acl", ()))


def _entry(grant: Grant) -> Document:
    who = ANYONE if grant.who == ANYONE else object_id(grant.who)
    return {"who": who, "rights": grant.rights, "negative": grant.negative}


class Grants:
    def __init__(self, database: Database, transactions: Transactions) -> None:
        self._mailboxes = database["mailboxes"]
        self._users = database["users"]
        self._transactions = transactions

    async def change(self, user: str, mailbox: str, change: Change) -> Document:
        """`change` makes the new ACL from the old one; the mailbox document as it is then.

        Raises: NoSuchMailbox, LimitReached, Unavailable, CommitUnknown.
        """
        query = {"_id": object_id(mailbox), "user": object_id(user), "path": {"$exists": True}}

        async def run(session: AsyncClientSession) -> Document:
            found = await self._mailboxes.find_one(query, {"acl": 1}, session=session)
            if found is None:
                raise NoSuchMailbox
            grants = change(to_grants(found))
            if len(grants) > MAX_GRANTS:
                raise LimitReached("The mailbox is shared with its maximum number of accounts")
            entries = [_entry(grant) for grant in grants]
            update: Document = {"$set": {"acl": entries}} if entries else {"$unset": {"acl": 1}}
            changed = await self._mailboxes.find_one_and_update(
                query, {**update, "$inc": {"modseq": Int64(1)}}, session=session, return_document=ReturnDocument.AFTER
            )
            if changed is None:
                raise NoSuchMailbox
            return changed

        return await self._transactions.run(run)

    async def noticed(self, user: str) -> None:
        """The account's stamp changes: who follows it, in whatever process, looks at its mailboxes again."""
        async with operation():
            await self._users.update_one({"_id": object_id(user)}, {"$inc": {"tree": Int64(1)}})

    async def usernames(self, users: Sequence[str]) -> dict[str, str]:
        """User names by id; what does not exist is absent. Raises: Unavailable."""
        query = {"_id": {"$in": [object_id(user) for user in users]}}
        async with operation():
            rows = await self._users.find(query, {"username": 1}).to_list(None)
        return {str(row["_id"]): row["username"] for row in rows}

    async def subscribed(self, user: str) -> set[str]:
        """Ids of the mailboxes of others that the account has subscribed to; of some it may have lost sight."""
        async with operation():
            found = await self._users.find_one({"_id": object_id(user)}, {"subscribedShared": 1})
        return {str(mailbox) for mailbox in (found or {}).get("subscribedShared", ())}

    async def subscribe(self, user: str, mailbox: str, subscribed: bool) -> bool:
        """Whether that is a change. Raises: LimitReached, Unavailable."""
        identifier: ObjectId = object_id(mailbox)
        query: Document = {"_id": object_id(user), "subscribedShared": {"$ne": identifier}}
        update: Document = {"$push": {"subscribedShared": identifier}}
        if subscribed:
            if len(await self.subscribed(user)) >= MAX_SUBSCRIBED:
                raise LimitReached("The account has subscribed to too many mailboxes")
        else:
            query["subscribedShared"] = identifier
            update = {"$pull": {"subscribedShared": identifier}}
        async with operation():
            result = await self._users.update_one(query, {**update, "$inc": {"tree": Int64(1)}})
        return bool(result.modified_count)

    async def withdraw(self, user: str) -> None:
        """Nobody's mailbox names the account any more. Raises: Unavailable."""
        who = object_id(user)
        async with operation(600):
            await self._mailboxes.update_many({"acl.who": who}, {"$pull": {"acl": {"who": who}}})
