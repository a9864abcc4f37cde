"""The index for SEARCH TEXT, BODY and header fields: which messages of a mailbox may hold a string, and which do.

It says of a message that it cannot match (`duckmail.mime.grams`), that it does (`duckmail.mime.words`), or nothing; who
it says nothing of, or what is not indexed yet, is looked through. So an index may be old, or missing, and no answer
changes.

A mailbox has segments of up to `SEGMENT` messages in the order of their UIDs. A segment is a matrix: a row of bits for
each place of runs and for each word of its vocabulary, a bit in it for each message. To ask for a string is to read the
rows of its places and to join them, and those of the words that hold it. Rows are kept in groups, one document each,
under the id of the build that wrote them, and so is the vocabulary; the head of the mailbox names the builds in use and
is replaced as a whole, so a reader sees one state and a crash leaves only groups that nobody names.

What a UID means never changes and UIDs only grow: a segment stays right whatever becomes of its messages. It is built
after a search, one mailbox at a time in a process, at half speed: mail that is never searched costs nothing.
"""

import asyncio
import logging
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic

from bson.binary import Binary
from bson.objectid import ObjectId
from pymongo.errors import DuplicateKeyError

from duckmail.errors import DuckmailError
from duckmail.runtime.tasks import Tasks
from storage.mongo.client import Collection, Database, Document, object_id, operation
from storage.mongo.schema import IndexSpec
from storage.textsegments import (
    GROUP,
    SEGMENT,
    VOCABULARY,
    Batch,
    Entry,
    Rows,
    Segment,
    Wanted,
    extended,
    group_id,
    joined,
    packed,
    segment_of,
)

log = logging.getLogger("duckmail.storage")

FORMAT = 3  # of the head and of what the rows mean; what is of another one is built anew
WRITTEN = 64  # groups in one statement
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

Source = Callable[[str, str, Sequence[int]], AsyncIterator[Mapping[int, Entry]]]
"""(user, mailbox, UIDs) -> UID -> what is indexed of the message, in batches."""


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
        self, mailbox: str, wanted: Sequence[Wanted]
    ) -> tuple[int, list["array[int]"], list[list[tuple[int, int]]]]:
        """The highest UID that is indexed, 0 for none; the UIDs of each segment; and for each of `wanted`, segment by
        segment, a bit for each of these which holds it for certain, and for each which may. Raises: Unavailable."""
        head = await self._head(mailbox)
        if not head.segments:
            return 0, [], [[] for _ in wanted]
        numbers = await asyncio.to_thread(lambda: [[one.rows(each) for one in head.segments] for each in wanted])
        rows = await self._rows(head, numbers)
        if rows is None:  # another process has replaced a segment: the next search knows
            self._kept.pop(mailbox, None)
            return 0, [], [[] for _ in wanted]
        found = await asyncio.to_thread(joined, head.segments, numbers, rows)
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
        segments = await self._segments(document["segments"]) if document.get("format") == FORMAT else []
        head = self._kept[mailbox] = _Head(document["version"], tuple(segments))
        if len(self._kept) > KEPT_HEADS:
            self._kept.popitem(last=False)
        return head

    async def _segments(self, documents: Sequence[Document]) -> list[Segment]:
        """None at all when one of them is not there any more: another process has replaced it meanwhile."""
        wanted = [group_id(document["build"], VOCABULARY) for document in documents]
        words: dict[bytes, bytes] = {}
        async with operation():
            async for row in self._groups.find({"_id": {"$in": wanted}}, {"words": 1}):
                words[bytes(row["_id"])] = row["words"]
        if len(words) < len(wanted):
            return []
        packed_words = [words[bytes(each)] for each in wanted]
        return await asyncio.to_thread(lambda: list(map(segment_of, documents, packed_words)))

    async def _rows(self, head: _Head, numbers: Sequence[Sequence[Rows]]) -> dict[tuple[ObjectId, int], int] | None:
        """(build, number) -> row; None when a group is not there any more."""
        widths = {segment.build: segment.width for segment in head.segments}
        asked = {
            (segment.build, number)
            for each in numbers
            for segment, mine in zip(head.segments, each, strict=True)
            for number in mine.all
        }
        wanted = list({bytes(group_id(build, number // GROUP)) for build, number in asked})
        found: dict[bytes, bytes] = {}
        async with operation():
            async for document in self._groups.find({"_id": {"$in": list(map(Binary, wanted))}}, {"rows": 1}):
                found[bytes(document["_id"])] = document["rows"]
        if len(found) < len(wanted):
            return None
        rows = {}
        for build, number in asked:
            octets = found[bytes(group_id(build, number // GROUP))]
            start = number % GROUP * widths[build]
            rows[build, number] = int.from_bytes(octets[start : start + widths[build]], "little")
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
        head: _Head | None = await self._head(mailbox)
        rest = uids[bisect_right(uids, head.last if head else 0) :]
        while rest and head is not None:
            room = SEGMENT - len(head.segments[-1].uids) if head.segments else 0
            batch = Batch(rest[: min(FLUSH, room or SEGMENT)])
            begun = monotonic()
            async for entries in self._source(user, mailbox, batch.uids):
                await asyncio.to_thread(batch.add, entries)
                await asyncio.sleep(monotonic() - begun)  # as long as it took
                begun = monotonic()
            head = await self._add(user, mailbox, head, batch)
            rest = rest[len(batch.uids) :]

    async def _add(self, user: str, mailbox: str, head: _Head, batch: Batch) -> _Head | None:
        """Writes it into the last segment if that has room, or else into a new one."""
        last = head.segments[-1] if head.segments and len(head.segments[-1].uids) < SEGMENT else None
        matrix = await self._matrix(last) if last else b""
        if matrix is None:
            return None
        segment = await self._write(mailbox, last, matrix, batch)
        new = _Head(head.version + 1, (*(head.segments[:-1] if last else head.segments), segment))
        document = {
            "user": object_id(user),
            "version": new.version,
            "format": FORMAT,
            "looked": datetime.now(UTC),
            "segments": [one.document() for one in new.segments],
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

    async def _matrix(self, segment: Segment) -> bytes | None:
        """All rows of a segment, one behind the other."""
        async with operation():
            cursor = self._groups.find(
                {"_id": {"$in": [group_id(segment.build, each) for each in range(segment.groups)]}}
            )
            documents = await cursor.sort("_id", 1).to_list(None)
        if len(documents) < segment.groups:
            return None
        return b"".join(document["rows"] for document in documents)

    async def _write(self, mailbox: str, old: Segment | None, matrix: bytes, batch: Batch) -> Segment:
        """A segment with what is in `old` and in the batch."""
        segment, made = await asyncio.to_thread(extended, old, matrix, batch)
        size = GROUP * segment.width
        owner = {"mailbox": object_id(mailbox), "build": segment.build}
        async with operation():
            words = await asyncio.to_thread(packed, segment.vocabulary)
            await self._groups.insert_one({"_id": group_id(segment.build, VOCABULARY), **owner, "words": words})
        for start in range(0, segment.groups, WRITTEN):
            documents: list[Document] = [
                {
                    "_id": group_id(segment.build, group),
                    **owner,
                    "rows": Binary(bytes(made[group * size : (group + 1) * size])),
                }
                for group in range(start, min(start + WRITTEN, segment.groups))
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
