"""Annotations: one document for each mailbox that has some, and one for the account's own of the server.

A mailbox that is shared has one for each account that notes something about it for itself.

What belongs to a mailbox goes in the transaction that deletes it. A change writes to the mailbox document, so that it
cannot come in beside that.
"""

from collections.abc import Callable, Mapping, Sequence

from bson.int64 import Int64
from bson.objectid import ObjectId
from pymongo import ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession

from duckmail.errors import NoSuchMailbox, TooManyAnnotations
from duckmail.model.annotation import MAX_ACCOUNT, MAX_ENTRIES
from storage.mongo.client import Database, Document, object_id, operation
from storage.mongo.transactions import Transactions

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("annotations", [("user", 1), ("mailbox", 1)], {"unique": True}),
    ("annotations", [("mailbox", 1)], {}),
)

Entries = dict[str, bytes]


class AnnotationRecords:
    def __init__(self, database: Database, transactions: Transactions) -> None:
        self._annotations = database["annotations"]
        self._mailboxes = database["mailboxes"]
        self._users = database["users"]
        self._transactions = transactions
        self.changed: Callable[[Document], None] = lambda _mailbox: None  # of a mailbox, in this process; a hint

    async def get(self, users: Sequence[str], mailboxes: Sequence[str]) -> dict[tuple[str, str], Entries]:
        """By account and mailbox, "" for the server; who has none is absent. Raises: Unavailable."""
        query = {
            "user": {"$in": [object_id(user) for user in users]},
            "mailbox": {"$in": [_mailbox(mailbox) for mailbox in mailboxes]},
        }
        async with operation():
            documents = await self._annotations.find(query).to_list(None)
        return {(str(document["user"]), str(document["mailbox"] or "")): _entries(document) for document in documents}

    async def change(self, user: str, mailbox: str, changes: Mapping[str, Mapping[str, bytes | None]]) -> None:
        """All or none; None removes. `user`: the mailbox's owner. `mailbox`: "" for the server. `changes`: by the
        account whose entries they are.

        Raises: NoSuchMailbox, TooManyAnnotations, Unavailable, CommitUnknown.
        """
        owner, place = object_id(user), _mailbox(mailbox)

        async def run(session: AsyncClientSession) -> Document | None:
            touched = None
            if place is not None:
                living = {"_id": place, "user": owner, "path": {"$exists": True}}
                # RFC 7162 §3.2: SETMETADATA increments the mod-sequence of the mailbox.
                count = {"$inc": {"annotated": Int64(1), "modseq": Int64(1)}}
                touched = await self._mailboxes.find_one_and_update(
                    living, count, session=session, return_document=ReturnDocument.AFTER
                )
                if touched is None:
                    raise NoSuchMailbox
            for whose, entries in changes.items():
                await self._write(object_id(whose), place, entries, session)
            # The stamp of the account changes: who follows it, in whatever process, looks again.
            await self._users.update_one({"_id": owner}, {"$inc": {"tree": Int64(1)}}, session=session)
            return touched

        annotated = await self._transactions.run(run)
        if annotated is not None:
            self.changed(annotated)

    async def _write(
        self, owner: ObjectId, place: ObjectId | None, changes: Mapping[str, bytes | None], session: AsyncClientSession
    ) -> None:
        query = {"user": owner, "mailbox": place}
        document = await self._annotations.find_one(query, session=session)
        entries = {**(_entries(document) if document else {}), **changes}
        kept = {name: value for name, value in entries.items() if value is not None}
        if not kept:
            await self._annotations.delete_one(query, session=session)
            return
        size = sum(len(name) + len(value) for name, value in kept.items())
        others = self._annotations.find({"user": owner, "mailbox": {"$ne": place}}, {"size": 1}, session=session)
        used = sum([int(row["size"]) async for row in others])
        if len(kept) > MAX_ENTRIES or used + size > MAX_ACCOUNT:
            raise TooManyAnnotations
        update = {"$set": {"entries": [list(pair) for pair in sorted(kept.items())], "size": Int64(size)}}
        await self._annotations.update_one(query, update, upsert=True, session=session)


def _mailbox(mailbox: str) -> ObjectId | None:
    return object_id(mailbox) if mailbox else None


def _entries(document: Document) -> Entries:
    return {name: bytes(value) for name, value in document["entries"]}
