"""Where the followers of an account stand, and what has changed since: read from the messages and tombstones
themselves, so there is no second log that could miss something.

A saved position is one document of at most some 50 KB, forgotten after `KEPT`.
"""

import struct
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime, timedelta

from bson.int64 import Int64
from bson.objectid import ObjectId

from duckmail.model.flags import to_names
from duckmail.model.mailbox import Mailbox
from duckmail.model.updates import ChangedMessage, Position, Spot
from storage.listing import thread_of
from storage.mongo.client import Database, Document, object_id, operation

KEPT = timedelta(hours=3)
PAGE = 500  # messages that are in memory at once
_ROW = struct.Struct(">12sQI8s")  # mailbox, modseq, uidnext, digest of the path
_SHOWN: Document = {"uid": 1, "modseq": 1, "flags": 1, "idate": 1, "thread": 1, "emailid": 1}

INDEXES: tuple[tuple[str, list[tuple[str, int]], Document], ...] = (
    ("positions", [("at", 1)], {"expireAfterSeconds": int(KEPT.total_seconds())}),
    ("positions", [("user", 1)], {}),
)


class Positions:
    def __init__(self, database: Database) -> None:
        self._positions = database["positions"]
        self._messages = database["messages"]
        self._expunged = database["expunged"]

    async def save(self, user: str, position: Position) -> str:
        """Its key, 24 hexadecimal digits. Raises: Unavailable."""
        rows = (_ROW.pack(bytes.fromhex(box), *_columns(spot)) for box, spot in position.items())
        document = {"_id": ObjectId(), "user": object_id(user), "at": datetime.now(UTC), "rows": b"".join(rows)}
        async with operation():
            await self._positions.insert_one(document)
        return str(document["_id"])

    async def load(self, user: str, identifier: str) -> Position | None:
        """None when it is not known any more. Raises: Unavailable."""
        async with operation():
            query = {"_id": object_id(identifier), "user": object_id(user)}
            found = await self._positions.find_one(query, {"rows": 1})
        if found is None:
            return None
        return {
            box.hex(): Spot(modseq, uidnext, path) for box, modseq, uidnext, path in _ROW.iter_unpack(found["rows"])
        }

    async def changed(self, mailbox: Mailbox, since: int) -> AsyncIterator[list[ChangedMessage]]:
        """Messages whose modseq is above `since` and not above the mailbox's, by modseq, in pages.

        One that changes meanwhile is left out, and above the mailbox's modseq from then on. Raises: Unavailable.
        """
        place = {"user": object_id(mailbox.user), "mailbox": object_id(mailbox.id)}
        low, uid = since + 1, 0
        while True:
            # Behind the last one of the page before, along (user, mailbox, modseq, uid, flags).
            rest = [{"modseq": Int64(low), "uid": {"$gt": Int64(uid)}}, {"modseq": _between(low, mailbox.modseq)}]
            query = {**place, "$or": rest} if uid else {**place, "modseq": _between(since, mailbox.modseq)}
            async with operation():
                cursor = self._messages.find(query, _SHOWN).sort([("modseq", 1), ("uid", 1)]).limit(PAGE)
                rows = await cursor.to_list(None)
            if rows:
                yield [_message(row, mailbox.keywords) for row in rows]
            if len(rows) < PAGE:
                return
            low, uid = int(rows[-1]["modseq"]), int(rows[-1]["uid"])

    async def expunged(self, mailbox: Mailbox, since: int) -> AsyncIterator[list[tuple[int, str]]]:
        """(UID, id) of what left the mailbox above modseq `since` and not above its own; pages. Raises: Unavailable."""
        place = {"user": object_id(mailbox.user), "mailbox": object_id(mailbox.id)}
        low = since
        while True:
            query = {**place, "modseq": _between(low, mailbox.modseq)}
            async with operation():
                found = await self._expunged.find(query).sort("modseq", 1).limit(1).to_list(None)
            if not found:
                return
            low = int(found[0]["modseq"])
            uids = [uid for first, last in found[0]["uids"] for uid in range(int(first), int(last) + 1)]
            yield list(zip(uids, map(str, found[0]["messages"]), strict=False))


def _columns(spot: Spot) -> Iterable[object]:
    return spot.modseq, spot.uidnext, spot.path


def _between(low: int, high: int) -> Document:
    return {"$gt": Int64(low), "$lte": Int64(high)}


def _message(row: Document, keywords: Sequence[str]) -> ChangedMessage:
    return ChangedMessage(
        id=str(row["_id"]),
        uid=int(row["uid"]),
        modseq=int(row["modseq"]),
        flags=to_names(int(row["flags"]), keywords),
        idate=row["idate"],
        thread=thread_of(row),
    )
