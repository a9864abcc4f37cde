"""The index for SEARCH TEXT, BODY and header fields: which messages of a mailbox may hold a string.

It never decides that a message matches, only that it cannot (`duckmail.mime.grams`); what is not indexed yet is looked
through. So an index may be old, or missing, and no answer changes.

A mailbox has segments of up to `SEGMENT` messages in the order of their UIDs. A segment is a matrix: a row of bits for
each place, a bit in it for each message. To ask for a string is to read the rows of its places and to join them. Rows
are kept in groups, one document each, under the id of the build that wrote them; the head of the mailbox names the
builds in use and is replaced as a whole, so a reader sees one state and a crash leaves only groups that nobody names.

What a UID means never changes and UIDs only grow: a segment stays right whatever becomes of its messages. It is built
after a search, one mailbox at a time in a process, at half speed: mail that is never searched costs nothing.
"""

import asyncio
import logging
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic

from bson.binary import Binary
from bson.objectid import ObjectId
from pymongo.errors import DuplicateKeyError

from duckmail.errors import DuckmailError
from duckmail.mime.grams import BITS
from duckmail.runtime.tasks import Tasks
from storage.mongo.client import Collection, Database, Document, object_id, operation
from storage.mongo.schema import IndexSpec

log = logging.getLogger("duckmail.storage")

SEGMENT = 8192  # messages
GROUP = 32  # rows in a document: 32 KiB of a whole segment
FLUSH = 1024  # messages that are indexed before a segment is written
LEAST = 200  # messages that must be new before a mailbox is indexed further
WAITING = 64  # mailboxes
KEPT_HEADS = 64
KEEP_UNNAMED = timedelta(hours=1)
LOOKED_AT = 100  # mailboxes in one round of `sweep`

INDEXES: tuple[IndexSpec, ...] = (
    ("textgroups", [("mailbox", 1), ("build", 1)], {}),
    ("textindex", [("looked", 1)], {}),
)

Places = set[int] | None
Source = Callable[[str, str, Sequence[int]], AsyncIterator[Mapping[int, Places]]]
"""(user, mailbox, UIDs) -> UID -> the places of the message's runs, in batches; None for those to look at always."""


@dataclass(frozen=True, slots=True)
class Segment:
    """`uids`: ascending. `always`: a bit for each message that the rows say nothing of."""

    build: ObjectId
    uids: "array[int]"
    always: int

    @property
    def width(self) -> int:
        """Octets of a row."""
        return (len(self.uids) + 7) // 8


@dataclass(frozen=True, slots=True)
class _Head:
    version: int
    segments: tuple[Segment, ...]

    @property
    def last(self) -> int:
        """The highest UID indexed."""
        return self.segments[-1].uids[-1] if self.segments else 0


_EMPTY = _Head(0, ())


class TextIndex:
    """`source` gives what is to be indexed."""

    def __init__(self, database: Database, tasks: Tasks, source: Source) -> None:
        self._heads: Collection = database["textindex"]
        self._groups: Collection = database["textgroups"]
        self._tasks = tasks
        self._kept: OrderedDict[str, _Head] = OrderedDict()
        self._wanted: OrderedDict[tuple[str, str], Sequence[int]] = OrderedDict()
        self._building = False
        self._source = source

    # -- asking ----------------------------------------------------------------------------------------------------

    async def ask(
        self, mailbox: str, strings: Sequence[Sequence[int]]
    ) -> tuple[int, list["array[int]"], list[list[int]]]:
        """The highest UID that is indexed, 0 for none; the UIDs of each segment; and for each of `strings` (its places)
        a bit for each of these which may hold it, segment by segment. Raises: Unavailable."""
        head = await self._head(mailbox)
        if not head.segments:
            return 0, [], [[] for _ in strings]
        places = sorted({place for string in strings for place in string})
        rows = await self._rows(head, places)
        if rows is None:  # another process has replaced a segment: the next search knows
            self._kept.pop(mailbox, None)
            return 0, [], [[] for _ in strings]
        found = await asyncio.to_thread(_joined, head, strings, rows)
        return head.last, [segment.uids for segment in head.segments], found

    async def _head(self, mailbox: str) -> _Head:
        identifier, kept = object_id(mailbox), self._kept.get(mailbox)
        async with operation():
            if kept is not None:
                row = await self._heads.find_one({"_id": identifier}, {"version": 1})
                if row is not None and row["version"] == kept.version:
                    self._kept.move_to_end(mailbox)
                    return kept
            document = await self._heads.find_one({"_id": identifier})
        if document is None:
            self._kept.pop(mailbox, None)
            return _EMPTY
        head = self._kept[mailbox] = _Head(document["version"], tuple(map(_segment, document["segments"])))
        if len(self._kept) > KEPT_HEADS:
            self._kept.popitem(last=False)
        return head

    async def _rows(self, head: _Head, places: Sequence[int]) -> dict[tuple[ObjectId, int], int] | None:
        """(build, place) -> row; None when a group is not there any more."""
        groups = sorted({place // GROUP for place in places})
        wanted = [_id(segment.build, group) for segment in head.segments for group in groups]
        found: dict[bytes, bytes] = {}
        async with operation():
            async for document in self._groups.find({"_id": {"$in": wanted}}, {"rows": 1}):
                found[bytes(document["_id"])] = document["rows"]
        if len(found) < len(wanted):
            return None
        rows = {}
        for segment in head.segments:
            width = segment.width
            for place in places:
                octets = found[bytes(_id(segment.build, place // GROUP))]
                start = place % GROUP * width
                rows[segment.build, place] = int.from_bytes(octets[start : start + width], "little")
        return rows

    # -- building --------------------------------------------------------------------------------------------------

    def want(self, user: str, mailbox: str, uids: Sequence[int], indexed: int) -> None:
        """After a search: `uids` are those of the mailbox, `indexed` the highest that the index knows. Never waits."""
        if len(uids) - bisect_right(uids, indexed) < LEAST or self._tasks.closed:
            return
        if len(self._wanted) < WAITING:
            self._wanted[user, mailbox] = uids[bisect_right(uids, indexed) :]
        if not self._building:
            self._building = True
            self._tasks.start(self._build_wanted(), "text index")

    async def _build_wanted(self) -> None:
        try:
            while self._wanted:
                (user, mailbox), uids = self._wanted.popitem(last=False)
                try:
                    await self.build(user, mailbox, uids)
                except DuckmailError as error:
                    log.warning("a mailbox is not indexed", extra={"fields": error.fields})
        finally:
            self._building = False

    async def build(self, user: str, mailbox: str, uids: Sequence[int]) -> None:
        """Indexes those of `uids` (ascending) that are not. Another process may do the same: the second one gives up.

        Raises: Unavailable.
        """
        head = await self._head(mailbox)
        new = uids[bisect_right(uids, head.last) :]
        for start in range(0, len(new), FLUSH):
            part = new[start : start + FLUSH]
            found: dict[int, Places] = dict.fromkeys(part)
            begun = monotonic()
            async for batch in self._source(user, mailbox, part):
                found.update(batch)
                await asyncio.sleep(monotonic() - begun)  # as long as it took
                begun = monotonic()
            added = await self._add(user, mailbox, head, found)
            if added is None:
                return
            head = added

    async def _add(self, user: str, mailbox: str, head: _Head, found: Mapping[int, Places]) -> _Head | None:
        """Writes them into the last segment as far as it has room, and the rest into a new one."""
        uids = list(found)
        last = head.segments[-1] if head.segments and len(head.segments[-1].uids) < SEGMENT else None
        room = SEGMENT - (len(last.uids) if last else 0)
        segments = list(head.segments[:-1] if last else head.segments)
        matrix = await self._matrix(last) if last else None
        if last is not None and matrix is None:
            return None
        segments.append(await self._write(mailbox, last, matrix, {uid: found[uid] for uid in uids[:room]}))
        if uids[room:]:
            segments.append(await self._write(mailbox, None, None, {uid: found[uid] for uid in uids[room:]}))
        new = _Head(head.version + 1, tuple(segments))
        document = {
            "user": object_id(user),
            "version": new.version,
            "looked": datetime.now(UTC),
            "segments": [
                {
                    "build": one.build,
                    "uids": Binary(one.uids.tobytes()),
                    "always": Binary(one.always.to_bytes(one.width, "little")),
                }
                for one in segments
            ],
        }
        query = {"_id": object_id(mailbox), "version": head.version}
        async with operation():
            try:
                done = await self._heads.replace_one(query, document, upsert=not head.version)
            except DuplicateKeyError:
                return None
        if not done.matched_count and done.upserted_id is None:
            return None  # another process was faster; what was written here is swept
        self._kept[mailbox] = new
        if last is not None:
            async with operation():
                await self._groups.delete_many({"mailbox": object_id(mailbox), "build": last.build})
        return new

    async def _matrix(self, segment: Segment) -> bytearray | None:
        """All rows of a segment, one behind the other."""
        async with operation():
            cursor = self._groups.find({"_id": {"$in": [_id(segment.build, each) for each in range(BITS // GROUP)]}})
            documents = await cursor.sort("_id", 1).to_list(None)
        if len(documents) < BITS // GROUP:
            return None
        return bytearray().join(document["rows"] for document in documents)

    async def _write(
        self, mailbox: str, old: Segment | None, matrix: bytearray | None, found: Mapping[int, Places]
    ) -> Segment:
        """A segment with what is in `old` and `found`."""
        uids = array("I", [*(old.uids if old else ()), *found])
        made, always = await asyncio.to_thread(_extended, old, matrix, uids, found)
        segment = Segment(ObjectId(), uids, always)
        size = GROUP * segment.width
        owner = object_id(mailbox)
        for start in range(0, BITS // GROUP, 64):
            documents: list[Document] = [
                {
                    "_id": _id(segment.build, group),
                    "mailbox": owner,
                    "build": segment.build,
                    "rows": Binary(bytes(made[group * size : (group + 1) * size])),
                }
                for group in range(start, start + 64)
            ]
            async with operation():
                await self._groups.insert_many(documents, ordered=False)
        return segment


async def sweep(database: Database) -> None:
    """The index of mailboxes that are gone goes; so do groups that no head names, an hour after they were written.

    Raises: Unavailable.
    """
    index, groups = database["textindex"], database["textgroups"]
    async with operation():
        heads = await index.find({}, {"segments.build": 1}).sort("looked", 1).limit(LOOKED_AT).to_list(None)
        ids = [head["_id"] for head in heads]
        query = {"_id": {"$in": ids}, "path": {"$exists": True}}
        alive = {row["_id"] for row in await database["mailboxes"].find(query, {"_id": 1}).to_list(None)}
        gone = [identifier for identifier in ids if identifier not in alive]
        await index.delete_many({"_id": {"$in": gone}})
        await groups.delete_many({"mailbox": {"$in": gone}})
        young = ObjectId.from_datetime(datetime.now(UTC) - KEEP_UNNAMED)
        for head in heads:
            named = [segment["build"] for segment in head["segments"]]
            unnamed = {"mailbox": head["_id"], "build": {"$nin": named, "$lt": young}}
            await groups.delete_many(unnamed)
        await index.update_many({"_id": {"$in": ids}}, {"$set": {"looked": datetime.now(UTC)}})


def _id(build: ObjectId, group: int) -> Binary:
    return Binary(build.binary + group.to_bytes(2, "big"))


def _segment(document: Document) -> Segment:
    uids = array("I")
    uids.frombytes(document["uids"])
    return Segment(document["build"], uids, int.from_bytes(document["always"], "little"))


def _extended(
    old: Segment | None, matrix: bytearray | None, uids: "array[int]", found: Mapping[int, Places]
) -> tuple[bytearray, int]:
    """The matrix for `uids`, the first of which are in the old one, and the bits of those it says nothing of."""
    width = (len(uids) + 7) // 8
    made = bytearray(BITS * width)
    always = 0
    if old is not None and matrix is not None:
        always, before = old.always, old.width
        for place in range(BITS):
            made[place * width : place * width + before] = matrix[place * before : (place + 1) * before]
    first = len(old.uids) if old is not None else 0
    for at, places in enumerate(found.values(), start=first):
        if places is None:
            always |= 1 << at
            continue
        column, bit = at >> 3, 1 << (at & 7)
        for place in places:
            made[place * width + column] |= bit
    return made, always


def _joined(head: _Head, strings: Sequence[Iterable[int]], rows: Mapping[tuple[ObjectId, int], int]) -> list[list[int]]:
    found: list[list[int]] = []
    for string in strings:
        mine: list[int] = []
        for segment in head.segments:
            bits = (1 << len(segment.uids)) - 1
            for place in string:
                bits &= rows[segment.build, place]
            mine.append(bits | segment.always)
        found.append(mine)
    return found
