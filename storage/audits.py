"""Audits, and the messages they keep.

Every mailbox of an audited account names its audits, and so does the account, for mailboxes to come and for mail on its
way out. Who commits a message reads that in the same transaction: nothing slips through between an audit's beginning
and the next look at it. A copy is a reference to the content, so it costs one small document.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bson.int64 import Int64
from bson.objectid import ObjectId
from pymongo import UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession

from duckmail.errors import NotFound
from duckmail.model.audit import Audit, AuditedMessage
from duckmail.model.flags import DRAFT
from storage.mongo import commands, pipeline
from storage.mongo.client import Database, Document, object_id, operation
from storage.mongo.transactions import Transactions
from storage.tasks import new_document

IMPORT, DELETE = "audit-import", "audit-delete"  # kinds of tasks
BATCH = 500

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("audits", [("user", 1)], {}),
    ("auditmails", [("user", 1), ("audit", 1), ("content", 1)], {"unique": True}),
    ("auditmails", [("user", 1), ("audit", 1), ("idate", 1), ("_id", 1)], {}),
    ("auditmails", [("content", 1)], {}),
)

_KEPT = ("content", "prefix", "size", "idate")
_COPIED = {**dict.fromkeys((*_KEPT, "flags", "savedate", "uid"), 1)}


def copies(owner: Document, message: Document, path: str, moment: datetime) -> list[Document]:
    """The statements that copy `message` for the audits of `owner`, a mailbox or an account.

    `moment`: when it was stored; an audit whose time holds that or its internal date takes it.
    """
    return [
        {"q": query, "u": {"$setOnInsert": fields}, "upsert": True}
        for audit in owner.get("audits", ())
        if _within(audit, moment) or _within(audit, message["idate"])
        for query, fields in [_copy(audit["id"], owner["user"] if "user" in owner else owner["_id"], message, path)]
    ]


def _within(audit: Document, moment: datetime) -> bool:
    return not (audit["start"] and moment < audit["start"]) and not (audit["end"] and moment > audit["end"])


def _copy(audit: ObjectId, user: ObjectId, message: Document, path: str) -> tuple[Document, Document]:
    """Key and fields of a copy. `flags`: a number, or names as in `archived`."""
    flags = message.get("flags", 0)
    draft = "\\Draft" in flags if isinstance(flags, list) else bool(int(flags) & DRAFT)
    fields = {name: message[name] for name in _KEPT if name in message and name != "content"}
    return {"user": user, "audit": audit, "content": message["content"]}, {**fields, "path": path, "draft": draft}


async def copy_queued(database: Database, queued: Sequence[Document], session: AsyncClientSession) -> None:
    """Copies mail on its way out for the audits of its accounts, in the transaction that queues it.

    Raises: PyMongoError.
    """
    users = {document["user"] for document in queued if document["user"] is not None}
    if not users:
        return
    query = {"_id": {"$in": list(users)}, "audits": {"$exists": True}}
    cursor = database["users"].find(query, {"audits": 1}, session=session)
    audited = {row["_id"]: row async for row in cursor}
    updates = [
        update
        for document in queued
        if document["user"] in audited
        for update in copies(
            audited[document["user"]], {**document, "idate": document["created"]}, "", document["created"]
        )
    ]
    if updates:
        await pipeline.run(database, [commands.update("auditmails", updates, session)])


class Audits:
    def __init__(self, database: Database, transactions: Transactions) -> None:
        self._database = database
        self._audits = database["audits"]
        self._mails = database["auditmails"]
        self._transactions = transactions

    async def create(self, user: str, start: datetime | None, end: datetime | None, expires: datetime) -> str:
        """From its commit on new messages are copied; those that were there before by a task. The account need not
        exist. Raises: NotFound (not an id), Unavailable, CommitUnknown.
        """
        owner, audit = object_id(user), ObjectId()
        window: Document = {"id": audit, "start": start, "end": end}

        async def run(session: AsyncClientSession) -> None:
            push = {"$push": {"audits": window}}
            await self._database["mailboxes"].update_many({"user": owner}, push, session=session)
            await self._database["users"].update_one({"_id": owner}, push, session=session)
            document = {
                "_id": audit,
                "user": owner,
                "start": start,
                "end": end,
                "expires": expires,
                "created": datetime.now(UTC),
                "status": "queued",
            }
            await self._audits.insert_one(document, session=session)
            tasks = [
                new_document(IMPORT, {"audit": str(audit)}, user=user),
                new_document(DELETE, {"audit": str(audit)}, user=user, due=expires, identifier=audit),
            ]
            await self._database["tasks"].insert_many(tasks, session=session)

        await self._transactions.run(run)
        return str(audit)

    async def get(self, audit: str) -> Audit:
        """Raises: NotFound, Unavailable."""
        async with operation():
            row = await self._audits.find_one({"_id": object_id(audit)})
            if row is None:
                raise NotFound("Audit was not found")
            copied = await self._mails.count_documents({"user": row["user"], "audit": row["_id"]})
        return Audit(
            id=str(row["_id"]),
            user=str(row["user"]),
            start=row["start"],
            end=row["end"],
            expires=row["expires"],
            status=row["status"],
            copied=copied,
            failed=0,
        )

    async def set_status(self, audit: str, status: str) -> None:
        async with operation():
            await self._audits.update_one({"_id": object_id(audit)}, {"$set": {"status": status}})

    async def page(self, audit: Audit, limit: int, after: AuditedMessage | None) -> Sequence[AuditedMessage]:
        """Its messages by internal date, behind `after`. Raises: Unavailable."""
        query: Document = {"user": object_id(audit.user), "audit": object_id(audit.id)}
        if after is not None:
            same = {"idate": after.idate, "_id": {"$gt": object_id(after.id)}}
            query["$or"] = [same, {"idate": {"$gt": after.idate}}]
        order = [("user", 1), ("audit", 1), ("idate", 1), ("_id", 1)]
        async with operation():
            rows = await self._mails.find(query).hint(order).sort(order).limit(limit).to_list(None)
        return [
            AuditedMessage(
                str(row["_id"]),
                str(row["content"]),
                bytes(row.get("prefix", b"")),
                row["idate"],
                row["path"],
                bool(row["draft"]),
            )
            for row in rows
        ]

    # -- what was there before -------------------------------------------------------------------------------------

    async def copy_some(self, audit: str, place: Sequence[Any], since: datetime | None) -> tuple[Sequence[Any], int]:
        """Copies the next messages behind `place` (mailbox and UID, empty for the start) that came into their mailbox
        since; gives the place behind them, empty at the end, and how many of them were not copied before.

        Raises: NotFound: the audit is gone. Unavailable.
        """
        row = await self._row(audit)
        query: Document = {"user": row["user"]}
        if since is not None:
            query["savedate"] = {"$gte": since}
        if place:
            mailbox, uid = place
            query["$or"] = [{"mailbox": mailbox, "uid": {"$gt": Int64(uid)}}, {"mailbox": {"$gt": mailbox}}]
        order = [("user", 1), ("mailbox", 1), ("uid", 1)]
        async with operation():
            boxes = await self._database["mailboxes"].find({"user": row["user"]}, {"path": 1, "was": 1}).to_list(None)
            cursor = self._database["messages"].find(query, {**_COPIED, "mailbox": 1}).hint(order).sort(order)
            messages = await cursor.limit(BATCH).to_list(None)
        paths: dict[object, str] = {box["_id"]: box.get("path") or box.get("was") or "" for box in boxes}
        new = await self._keep(row, messages, paths)
        behind = (messages[-1]["mailbox"], int(messages[-1]["uid"])) if len(messages) == BATCH else ()
        return behind, new

    async def copy_removed(self, audit: str) -> None:
        """What was removed since the audit began, before it was copied. Raises: NotFound, Unavailable."""
        row = await self._row(audit)
        after: Document = {}
        while True:
            query = {"user": row["user"], "archived": {"$gte": row["created"]}, **after}
            async with operation():
                cursor = self._database["archived"].find(query, _COPIED).sort("_id", 1)
                messages = await cursor.limit(BATCH).to_list(None)
            await self._keep(row, messages, {})
            if len(messages) < BATCH:
                return
            after = {"_id": {"$gt": messages[-1]["_id"]}}

    async def _row(self, audit: str) -> Document:
        async with operation():
            row = await self._audits.find_one({"_id": object_id(audit)})
        if row is None:
            raise NotFound("Audit was not found")
        return row

    async def _keep(self, row: Document, messages: Iterable[Document], paths: Mapping[object, str]) -> int:
        """Copies messages, each once; how many were not there. `paths`: of mailboxes."""
        owner = {"_id": row["user"], "audits": [{"id": row["_id"], "start": row["start"], "end": row["end"]}]}
        updates: list[Any] = [
            UpdateOne(each["q"], each["u"], upsert=True)
            for message in messages
            for each in copies(
                owner, message, paths.get(message.get("mailbox"), ""), message.get("savedate") or message["idate"]
            )
        ]
        if not updates:
            return 0
        async with operation():
            return (await self._mails.bulk_write(updates, ordered=False)).upserted_count

    # -- the end ---------------------------------------------------------------------------------------------------

    async def end(self, audit: str) -> int:
        """Nothing is copied for it from here on, and it is gone; deletes what it had, and gives how many messages that
        were. May be repeated. Raises: NotFound (not an id), Unavailable, CommitUnknown.
        """
        identifier = object_id(audit)
        owner = await self.close(audit)
        if owner is None:  # closed before: its task knows whose it was
            async with operation():
                task = await self._database["tasks"].find_one({"_id": identifier}, {"user": 1})
            if task is None:
                return 0
            owner = task["user"]
        query = {"user": owner, "audit": identifier}
        gone = 0
        while True:
            async with operation():
                rows = await self._mails.find(query, {"_id": 1}).limit(BATCH).to_list(None)
                if rows:
                    ids = {"$in": [row["_id"] for row in rows]}
                    gone += (await self._mails.delete_many({**query, "_id": ids})).deleted_count
            if len(rows) < BATCH:
                return gone

    async def close(self, audit: str) -> ObjectId | None:
        """Whose audit it was; None when there is none. What it had is left to its task, which is due now.

        Raises: NotFound (not an id), Unavailable, CommitUnknown.
        """
        identifier = object_id(audit)

        async def run(session: AsyncClientSession) -> ObjectId | None:
            row = await self._audits.find_one_and_delete({"_id": identifier}, session=session)
            if row is None:
                return None
            pull = {"$pull": {"audits": {"id": identifier}}}
            await self._database["mailboxes"].update_many({"user": row["user"]}, pull, session=session)
            await self._database["users"].update_one({"_id": row["user"]}, pull, session=session)
            owner: ObjectId = row["user"]
            return owner

        return await self._transactions.run(run)
