"""Removes contents, parts and files that nothing names any more. There are no reference counts to drift (DESIGN §4).

Each kind is walked in batches. What nobody names in one snapshot, and nobody touched for a day, is marked `dying`. It
is deleted an hour later, and only if a second snapshot agrees and neither the mark nor `touched` has changed since.
The hour is what protects a reference copied from another just before that one went: the copy commits within seconds,
and the second snapshot sees it. Files need no mark: a file is named within minutes of its upload or never.

A sweep may die at any instruction and may run in several processes at once: each step alone leaves the store right, and
what is left over is found the next time.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from bson.objectid import ObjectId
from pymongo import DeleteOne
from pymongo.asynchronous.client_session import AsyncClientSession

from storage.blobs.files import BUCKET, Files
from storage.mongo.client import Collection, Database, Document, operation

# Every collection whose documents name a content in their field `content`, each with an index on it.
REFERRERS: tuple[str, ...] = ("messages", "archived", "queue", "auditmails")

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
BATCH = 1_000
SEEKS = 100  # existence checks in one aggregation: each is a seek in an index
FILES_AT_ONCE = 20  # their chunks are deleted in one command
LOOK_SECONDS = 120.0


@dataclass(slots=True)
class Swept:
    """What one run did. `revived`: had been marked, but is named again."""

    marked: int = 0
    revived: int = 0
    contents: int = 0
    texts: int = 0
    parts: int = 0
    files: int = 0

    def __bool__(self) -> bool:
        return any(asdict(self).values())


class Kind(Protocol):
    """What is swept in two looks. Its documents have `touched`, and `dying` once they are marked."""

    @property
    def collection(self) -> Collection: ...

    def old(self, moment: datetime) -> Document:
        """A query that holds for all that was not touched since `moment` (and perhaps for others)."""
        ...

    async def named(self, keys: Sequence[Any], session: AsyncClientSession) -> set[object]:
        """Those of `keys` that somebody names in the session's snapshot."""
        ...

    async def delete(self, rows: Sequence[Document]) -> int:
        """Deletes those of `rows` whose `dying` and `touched` are still as in the row; how many."""
        ...


class Contents:
    """Named by messages and other referrers; a content's text goes with it."""

    def __init__(self, database: Database) -> None:
        self.collection = database["contents"]
        self._texts = database["texts"]
        self._referrers = [database[name] for name in REFERRERS]

    def old(self, moment: datetime) -> Document:
        # An id is as old as its content: so the walk reads the index alone, not documents of up to a MiB.
        return {"_id": {"$lt": ObjectId.from_datetime(moment)}}

    async def named(self, keys: Sequence[Any], session: AsyncClientSession) -> set[object]:
        found: set[object] = set()
        for referrer in self._referrers:
            match: Document = {"$match": {"content": {"$in": list(keys)}}}
            cursor = await referrer.aggregate([match, {"$group": {"_id": "$content"}}], session=session)
            found.update([row["_id"] async for row in cursor])
        return found

    async def delete(self, rows: Sequence[Document]) -> int:
        # Text first: without it search decodes the content, whereas text without a content would be garbage.
        async with operation():
            await self._texts.delete_many({"_id": {"$in": [row["_id"] for row in rows]}})
        return await _delete_unchanged(self.collection, rows)


class Parts:
    """Named by the list `parts` of contents. Their files are left to the sweep of files."""

    def __init__(self, database: Database) -> None:
        self.collection = database["parts"]
        self._contents = database["contents"]

    def old(self, moment: datetime) -> Document:
        return {"touched": {"$lt": moment}}

    async def named(self, keys: Sequence[Any], session: AsyncClientSession) -> set[object]:
        found: set[object] = set()
        for start in range(0, len(keys), SEEKS):
            first, *others = [_seek(key) for key in keys[start : start + SEEKS]]
            unions = [{"$unionWith": {"coll": self._contents.name, "pipeline": seek}} for seek in others]
            cursor = await self._contents.aggregate([*first, *unions], session=session)
            found.update([row["key"] async for row in cursor])
        return found

    async def delete(self, rows: Sequence[Document]) -> int:
        return await _delete_unchanged(self.collection, rows)


def _seek(key: object) -> list[Document]:
    """Gives `key` if any content names it: one, for a part may be in a million contents."""
    return [{"$match": {"parts": key}}, {"$limit": 1}, {"$project": {"_id": 0, "key": {"$literal": key}}}]


async def _delete_unchanged(collection: Collection, rows: Sequence[Document]) -> int:
    deletes = [DeleteOne({"_id": row["_id"], "dying": row["dying"], "touched": row["touched"]}) for row in rows]
    async with operation():
        result = await collection.bulk_write(deletes, ordered=False)
    return result.deleted_count


class Sweep:
    """`untouched`: how long something must not have been touched; `dying`: how long it stays marked."""

    def __init__(
        self,
        database: Database,
        *,
        untouched: timedelta = DAY,
        dying: timedelta = HOUR,
        batch: int = BATCH,
    ) -> None:
        self._client = database.client
        self._contents = Contents(database)
        self._parts = Parts(database)
        self._texts = database["texts"]
        self._file_documents = database[f"{BUCKET}.files"]
        self._files = Files(database)
        self._untouched = untouched
        self._dying = dying
        self._batch = batch

    async def run(self, now: datetime | None = None) -> Swept:
        """One pass over everything. `now`: aware; the present when None.

        Raises:
            Unavailable: the database does not answer; the rest is left for the next run.
        """
        moment = now or datetime.now(UTC)
        swept = Swept()
        # Contents before what they name, so that a run gets as far as it can.
        swept.contents = await self._delete(self._contents, moment, swept)
        await self._mark(self._contents, moment, swept)
        swept.parts = await self._delete(self._parts, moment, swept)
        await self._mark(self._parts, moment, swept)
        swept.texts = await self._sweep_texts(moment - self._untouched)
        swept.files = await self._sweep_files(moment - self._untouched)
        return swept

    async def _mark(self, kind: Kind, now: datetime, swept: Swept) -> None:
        """The first look: marks what nobody names."""
        cutoff = now - self._untouched
        async for keys in self._walk(kind.collection, kind.old(cutoff)):
            unnamed = await self._unnamed(kind, keys)
            if not unnamed:
                continue
            # What was touched since the snapshot is not old any more.
            query = {"_id": {"$in": unnamed}, "dying": {"$exists": False}, "touched": {"$lt": cutoff}}
            async with operation():
                result = await kind.collection.update_many(query, {"$set": {"dying": now}})
            swept.marked += result.modified_count

    async def _delete(self, kind: Kind, now: datetime, swept: Swept) -> int:
        """The second look: deletes what was marked long enough ago and is still not named; how many."""
        query = {"dying": {"$lte": now - self._dying}}
        deleted = 0
        while True:
            async with operation():
                cursor = kind.collection.find(query, {"dying": 1, "touched": 1}).sort("dying", 1).limit(self._batch)
                rows = await cursor.to_list(None)
            if not rows:
                return deleted
            unnamed = set(await self._unnamed(kind, [row["_id"] for row in rows]))
            named = [row["_id"] for row in rows if row["_id"] not in unnamed]
            if named:
                async with operation():
                    await kind.collection.update_many({"_id": {"$in": named}}, {"$unset": {"dying": 1}})
                swept.revived += len(named)
            gone = await kind.delete([row for row in rows if row["_id"] in unnamed]) if unnamed else 0
            deleted += gone
            if not named and not gone:
                return deleted  # all of them changed under our hands: the next run decides

    async def _unnamed(self, kind: Kind, keys: Sequence[Any]) -> list[object]:
        """Those of `keys` that nobody names, everybody looked at in one snapshot."""
        async with operation(LOOK_SECONDS), self._client.start_session(snapshot=True) as session:
            named = await kind.named(keys, session)
        return [key for key in keys if key not in named]

    async def _sweep_texts(self, before: datetime) -> int:
        """Text whose content was never inserted: both are written at once, and a process may die between them."""
        deleted = 0
        async for keys in self._walk(self._texts, {"_id": {"$lt": ObjectId.from_datetime(before)}}):
            async with operation():
                rows = await self._contents.collection.find({"_id": {"$in": keys}}, {"_id": 1}).to_list(None)
                known = {row["_id"] for row in rows}
                result = await self._texts.delete_many({"_id": {"$in": [key for key in keys if key not in known]}})
            deleted += result.deleted_count
        return deleted

    async def _sweep_files(self, before: datetime) -> int:
        """Files that no part names: of uploads that lost or died, and of parts that are gone."""
        deleted = 0
        async for keys in self._walk(self._file_documents, {"_id": {"$lt": ObjectId.from_datetime(before)}}):
            async with operation():
                query = {"file": {"$in": keys}}
                rows = await self._parts.collection.find(query, {"_id": 0, "file": 1}).to_list(None)
            named = {row["file"] for row in rows}
            unnamed = [key for key in keys if key not in named]
            for start in range(0, len(unnamed), FILES_AT_ONCE):
                await self._files.delete(unnamed[start : start + FILES_AT_ONCE])
            deleted += len(unnamed)
        return deleted

    async def _walk(self, collection: Collection, query: Document) -> AsyncIterator[list[Any]]:
        """The ids of all documents of `query`, ascending, in batches; no cursor stays open between them."""
        last: object = None
        while True:
            page = query if last is None else {"$and": [query, {"_id": {"$gt": last}}]}
            async with operation(LOOK_SECONDS):
                rows = await collection.find(page, {"_id": 1}).sort("_id", 1).limit(self._batch).to_list(None)
            if rows:
                yield [row["_id"] for row in rows]
            if len(rows) < self._batch:
                return
            last = rows[-1]["_id"]
