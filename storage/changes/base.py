"""What all changes share: the transaction they run in, what they give back, and the mailbox document's part in it."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bson.int64 import Int64
from bson.objectid import ObjectId
from pymongo import ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession

from duckmail.errors import LimitReached, NoSuchMailbox
from duckmail.model.account import AMPLE_ROOM, Quota
from duckmail.model.flags import DELETED, MAX_KEYWORDS, SEEN, missing_keywords
from duckmail.model.mailbox import Mailbox
from duckmail.model.ranges import Ranges
from storage.mailboxes import to_mailbox
from storage.mongo.client import Collection, Database, Document
from storage.viewcache import ViewCache
from storage.views import Delta, View

CHUNK = 1_000  # messages in one transaction (DESIGN §5 Size)
# Of message documents that one transaction writes anew: until the commit MongoDB holds them all in its cache.
CHUNK_OCTETS = 8 * 1024 * 1024
# Octets that a quota is away from which on an account's changes are let through one at a time: what may be in flight
# for it in all processes together. Farther away no two of them can exceed the quota between them.
NEARLY_FULL = 64 * 1024 * 1024
NEARLY_FULL_MESSAGES = 10_000  # the same in messages
AMPLE_MESSAGES = 40_000  # beside `AMPLE_ROOM`
MEASURED = {"_id": 0, "uid": 1, "octets": {"$bsonSize": "$$ROOT"}}


@dataclass(frozen=True, slots=True)
class Key:
    """A mailbox and its user, as the database knows them."""

    user: ObjectId
    mailbox: ObjectId

    @property
    def query(self) -> Document:
        return {"user": self.user, "mailbox": self.mailbox}


class Held(NamedTuple):
    """What the mailboxes of an account hold together."""

    octets: int = 0
    messages: int = 0

    def plus(self, octets: int, messages: int) -> "Held":
        return Held(self.octets + octets, self.messages + messages)

    def within(self, quota: Quota) -> bool:
        return quota.allows(self.octets, self.messages)

    def nearly(self, quota: Quota) -> bool:
        """What may be in flight could exceed the quota."""
        return not self.plus(NEARLY_FULL, NEARLY_FULL_MESSAGES).within(quota)

    def far(self, quota: Quota) -> bool:
        """What may be in flight within a second could not."""
        return self.plus(AMPLE_ROOM, AMPLE_MESSAGES).within(quota)


@dataclass(frozen=True, slots=True)
class Tx:
    """One running transaction."""

    session: AsyncClientSession
    database: Database
    views: ViewCache

    @property
    def mailboxes(self) -> Collection:
        return self.database["mailboxes"]

    @property
    def messages(self) -> Collection:
        return self.database["messages"]

    async def increment(self, key: Key, amounts: Mapping[str, int]) -> Document:
        """Increments the mailbox's counters and its modseq; the document after it. Raises: NotFound."""
        document = await self.mailboxes.find_one_and_update(
            {"_id": key.mailbox, "user": key.user, "path": {"$exists": True}},
            {"$inc": {"modseq": Int64(1), **{name: Int64(amount) for name, amount in amounts.items()}}},
            session=self.session,
            return_document=ReturnDocument.AFTER,
        )
        if document is None:
            raise NoSuchMailbox
        return document

    async def count(self, key: Key, amounts: Mapping[str, int], keywords: Sequence[str] = ()) -> None:
        """Adds to the counters, and to the keyword table, what only became known after `increment`."""
        update: Document = {"$inc": {name: Int64(amount) for name, amount in amounts.items() if amount}}
        if keywords:
            update["$push"] = {"keywords": {"$each": list(keywords)}}
        if update["$inc"] or keywords:
            update = {operator: value for operator, value in update.items() if value}
            await self.mailboxes.update_one({"_id": key.mailbox, "user": key.user}, update, session=self.session)

    async def alone(self, users: Sequence[ObjectId]) -> None:
        """Makes this transaction conflict with every other one that says so of one of these accounts.

        Two that fill different mailboxes would else both find room for what only one of them has room for: they read
        the same sizes, and write nothing in common.
        """
        if users:
            query = {"_id": {"$in": list(users)}}
            await self.database["users"].update_many(query, {"$inc": {"filled": Int64(1)}}, session=self.session)

    def exact_view(self, key: Key, modseq: int) -> View | None:
        """The view, when it stands exactly before `modseq`: its flags are then those of the transaction."""
        view = self.views.peek(str(key.user), str(key.mailbox))
        return view if view is not None and not view.gone and view.mailbox.modseq == modseq - 1 else None

    async def rows(self, key: Key, uids: Sequence[int], modseq: int) -> list[tuple[int, int, int]]:
        """(uid, flags, modseq) of those of `uids` (ascending) that exist, ascending; from the view when it is exact."""
        view = self.exact_view(key, modseq)
        if view is not None:
            found = ((uid, view.position(uid)) for uid in uids)
            return [(uid, view.flags[at], view.modseqs[at]) for uid, at in found if at >= 0]
        query = {**key.query, "uid": uid_query(uids)}
        projection = {"_id": 0, "uid": 1, "flags": 1, "modseq": 1}
        cursor = self.messages.find(query, projection, session=self.session).sort("uid", 1)
        return [(int(row["uid"]), int(row["flags"]), int(row["modseq"])) async for row in cursor]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a change did. `commit` False: there was nothing to do, the transaction is given up."""

    result: Any
    deltas: tuple[Delta, ...] = ()
    commit: bool = True


class Change(ABC):
    """One change to one or two mailboxes of one account. `apply` may run several times until one attempt commits."""

    def __init__(self, *keys: Key) -> None:
        self.keys = keys

    @abstractmethod
    async def apply(self, tx: Tx) -> Outcome:
        """Raises: DuckmailError for what can never succeed, PyMongoError for what the committer may retry."""


def uid_query(uids: Sequence[int]) -> Document:
    """The query for ascending UIDs: one range where they are one, else the list."""
    ranges = Ranges.from_sorted(uids)
    if len(ranges.pairs) == 1:
        return {"$gte": Int64(ranges.pairs[0][0]), "$lte": Int64(ranges.pairs[0][1])}
    return {"$in": [Int64(uid) for uid in uids]}


def chunks(measured: Iterable[Document], most: int = CHUNK) -> list[list[int]]:
    """The UIDs of rows (`MEASURED`, ascending), in runs that one transaction can write anew."""
    runs: list[list[int]] = []
    room = 0
    for row in measured:
        room -= row["octets"]
        if room < 0 or len(runs[-1]) == most:
            runs.append([])
            room = CHUNK_OCTETS - row["octets"]
        runs[-1].append(int(row["uid"]))
    return runs


def keywords_to_add(flags: Iterable[str], table: Sequence[str]) -> list[str]:
    """Raises: LimitReached when the table has no room for them (then nothing is changed)."""
    missing = missing_keywords(flags, table)
    if len(table) + len(missing) > MAX_KEYWORDS:
        raise LimitReached("The mailbox has its maximum number of keywords")
    return missing


def tally(masks: Iterable[int], sizes: Iterable[int] = ()) -> dict[str, int]:
    """The counters that messages with these masks and sizes make up."""
    listed = list(masks)
    return {
        "messages": len(listed),
        "unseen": sum(1 for mask in listed if not mask & SEEN),
        "deleted": sum(1 for mask in listed if mask & DELETED),
        "size": sum(sizes),
    }


def negative(amounts: Mapping[str, int]) -> dict[str, int]:
    return {name: -amount for name, amount in amounts.items()}


def after(document: Document, amounts: Mapping[str, int], keywords: Sequence[str] = ()) -> Mailbox:
    """The mailbox after `count` added to an incremented document."""
    added = {name: int(document[name]) + amount for name, amount in amounts.items()}
    return to_mailbox({**document, **added, "keywords": [*document["keywords"], *keywords]})
