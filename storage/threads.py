"""Threads: which messages of an account belong together.

The id of a thread is made from what is known of its first message: account, Message-ID and base subject. A message that
answers nothing so finds its own, and the one that answers it the same, without asking the database, in whatever order
they come. Only for a reply is looked up whether something it refers to was put elsewhere (RFC 5322 §3.6.4: mailers
shorten References, and some write In-Reply-To alone); that is what `threads` holds, for half a year.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Protocol

from bson.objectid import ObjectId

from duckmail.mime.subject import base_subject
from storage.mongo import commands
from storage.mongo.client import Database, Document, operation
from storage.mongo.pipeline import Command

REFERENCES = 10  # of a message that are looked at, the nearest
INDEXES: tuple[tuple[str, list[tuple[str, int]], Document], ...] = (
    ("threads", [("at", 1)], {"expireAfterSeconds": 180 * 86_400}),
)


def thread_id(user: ObjectId, subject: str, message_id: str) -> ObjectId:
    """Of the thread that a message with this id and base subject begins."""
    named = b"\0".join((user.binary, subject.encode("utf-8", "replace"), message_id.encode("utf-8", "replace")))
    return ObjectId(sha256(named).digest()[:12])


class Named(Protocol):
    """By what a message is known and what it refers to, as `Summary` has it."""

    @property
    def subject(self) -> str: ...

    @property
    def message_id(self) -> str: ...

    @property
    def in_reply_to(self) -> str: ...

    @property
    def references(self) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Referring:
    """The same of a message that is stored."""

    subject: str
    message_id: str
    in_reply_to: str
    references: list[str]


class Threads:
    """Of the messages of one group. `rows`: what is to be remembered, once they are stored."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.rows: list[Document] = []

    async def assign(self, messages: Sequence[tuple[ObjectId, Named]]) -> list[ObjectId | None]:
        """The thread of each (account, message), None for one that nothing can refer to. Raises: Unavailable."""
        named = [_ids(user, summary) for user, summary in messages]
        known: dict[ObjectId, ObjectId] = {}
        if any(len(ids) > 1 for ids in named):
            known = await self._known(named, {user for user, _ in messages})
        found: list[ObjectId | None] = []
        now = datetime.now(UTC)
        for (user, _), ids in zip(messages, named, strict=True):
            if len(ids) < 2:
                found.append(ids[0] if ids else None)
                continue
            thread = next((known[each] for each in ids if each in known), ids[0])
            found.append(thread)
            for each in ids:
                if each not in known and each != thread:
                    known[each] = thread
                    self.rows.append({"_id": each, "user": user, "thread": thread, "at": now})
        return found

    async def _known(self, named: Sequence[Sequence[ObjectId]], users: set[ObjectId]) -> dict[ObjectId, ObjectId]:
        wanted = [each for ids in named if len(ids) > 1 for each in ids]
        query = {"_id": {"$in": wanted}, "user": {"$in": list(users)}}
        async with operation():
            rows = await self._database["threads"].find(query, {"thread": 1}).to_list(None)
        return {row["_id"]: row["thread"] for row in rows}

    def insertions(self) -> list[Command]:
        """What remembers them. May be repeated."""
        return [commands.insert_new("threads", self.rows, {"w": 1})] if self.rows else []


def _ids(user: ObjectId, summary: Named) -> list[ObjectId]:
    """The threads that what it refers to, oldest first, and itself would begin; for a reply at least two."""
    names: list[str] = []
    if summary.references or summary.in_reply_to:
        names = summary.references[:1] + summary.references[1:][-REFERENCES:]
        names.append(summary.in_reply_to)
    names.append(summary.message_id)
    subject = base_subject(summary.subject) if any(names) else ""
    ids = dict.fromkeys(thread_id(user, subject, name) for name in names if name)
    return list(ids)
