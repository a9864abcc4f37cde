"""Parts: octet strings stored once, whoever brings them, named by the SHA-256 of their octets."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bson.int64 import Int64
from bson.objectid import ObjectId
from pymongo.errors import BulkWriteError

from duckmail.errors import Corrupted, Unavailable
from storage.blobs.files import Files, NewFile
from storage.mongo.client import Database, Document, operation

# A touch protects for a day (storage.sweep); one younger than this needs no new one. So a part that is in every
# message of a day is written once an hour, and what names it has most of a day to follow.
FRESH = timedelta(hours=1)
ATTEMPTS = 5
UPLOADS = 8  # at once in a process: bounds what encoding and sending hold beside the messages themselves
DUPLICATE_KEY = 11000

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("parts", [("file", 1)], {}),
    ("parts", [("dying", 1)], {"sparse": True}),
)


@dataclass(frozen=True, slots=True)
class NewPart:
    """Octets to store. `pieces` gives them in pieces of `files.CHUNK`, anew at each call."""

    sha256: bytes
    length: int
    pieces: Callable[[], Iterator[bytes]]


class Parts:
    def __init__(self, database: Database, fresh: timedelta = FRESH) -> None:
        self.files = Files(database)
        self._parts = database["parts"]
        self._fresh = fresh
        self._uploads = asyncio.Semaphore(UPLOADS)

    async def store(self, parts: Iterable[NewPart]) -> None:
        """Makes sure that each part is there and stays for a day; durable on return.

        Raises:
            Unavailable: the database does not answer; what was stored is left to the sweep.
        """
        missing = await self._missing({part.sha256: part for part in parts})
        if not missing:
            return
        waits = self._uploads.locked()
        async with self._uploads:
            if waits:  # perhaps for another upload of the same parts
                missing = await self._missing(missing)
            if missing:
                await self._upload(list(missing.values()))

    async def _missing(self, parts: dict[bytes, NewPart]) -> dict[bytes, NewPart]:
        there = set(await self._touch(parts)) if parts else set()
        return {sha256: part for sha256, part in parts.items() if sha256 not in there}

    async def _touch(self, hashes: Iterable[bytes]) -> list[bytes]:
        """Those of `hashes` that are there, not dying, and now touched recently."""
        wanted = list(hashes)
        fresh = await self._touched(wanted, datetime.now(UTC) - self._fresh)
        known = set(fresh)
        stale = [sha256 for sha256 in wanted if sha256 not in known]
        if not stale:
            return fresh
        now = now_in_milliseconds()
        async with operation():
            update = {"$max": {"touched": now}}  # never back, whatever another machine's clock says
            result = await self._parts.update_many({"_id": {"$in": stale}, "dying": {"$exists": False}}, update)
        return fresh + await self._touched(stale, now) if result.matched_count else fresh

    async def _touched(self, hashes: Sequence[bytes], since: datetime) -> list[bytes]:
        query = {"_id": {"$in": hashes}, "dying": {"$exists": False}, "touched": {"$gte": since}}
        async with operation():
            rows = await self._parts.find(query, {"_id": 1}).to_list(None)
        return [row["_id"] for row in rows]

    async def _upload(self, parts: list[NewPart]) -> None:
        files = await self.files.write([NewFile(part.length, part.pieces) for part in parts])
        now = now_in_milliseconds()
        documents: list[Document] = [
            {"_id": part.sha256, "file": file, "length": Int64(part.length), "touched": now}
            for part, file in zip(parts, files, strict=True)
        ]
        lost = [files[index] for index in await self._insert(documents) if not await self._settle(documents[index])]
        if lost:
            await self.files.delete(lost)

    async def _insert(self, documents: list[Document]) -> list[int]:
        """Inserts what is not there yet; the indexes of the others."""
        async with operation():
            try:
                await self._parts.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                errors = error.details["writeErrors"]
                if any(each["code"] != DUPLICATE_KEY for each in errors) or error.details["writeConcernErrors"]:
                    raise
                return [each["index"] for each in errors]
        return []

    async def _settle(self, document: Document) -> bool:
        """Decides about a part whose document exists already: True if its file is now ours, False if another's is
        there to stay."""
        key: bytes = document["_id"]
        file: ObjectId = document["file"]
        for _ in range(ATTEMPTS):
            if await self._touch([key]):
                # Only another uploader's file makes ours superfluous.
                return (await self.locate([key])).get(key) == file
            # The old file is left alone: the sweep finds that no document names it.
            changes = {"$set": {"file": file, "touched": now_in_milliseconds()}, "$unset": {"dying": 1}}
            async with operation():
                result = await self._parts.update_one({"_id": key, "dying": {"$exists": True}}, changes)
            if result.matched_count or not await self._insert([document | {"touched": now_in_milliseconds()}]):
                return True
        raise Unavailable(error="a part is claimed and swept in turns", part=key.hex())

    async def locate(self, hashes: Iterable[bytes]) -> dict[bytes, ObjectId]:
        """The file of each part; an unknown part is absent.

        Raises:
            Unavailable: the database does not answer.
        """
        async with operation():
            query = {"_id": {"$in": list(hashes)}}
            rows = await self._parts.find(query, {"file": 1}).to_list(None)
        return {row["_id"]: row["file"] for row in rows}

    async def read_all(self, sha256: bytes, length: int) -> bytes:
        """All octets of one part that is known to be small (a spilled index, header, structure).

        Raises:
            Unavailable: the database does not answer. Corrupted: the part is missing.
        """
        file = (await self.locate([sha256])).get(sha256)
        if file is None:
            raise Corrupted(error="a part is missing", part=sha256.hex())
        return b"".join([piece async for piece in self.files.read(file, 0, length)])


def now_in_milliseconds() -> datetime:
    """The present as BSON keeps it, so that it compares equal to what was stored."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
