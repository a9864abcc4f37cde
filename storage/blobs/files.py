"""GridFS files, written and read by chunks.

The documents are those of the GridFS specification, so any GridFS tool reads them. Unlike the driver's classes this
reads any range in one query per MiB, keeps no cursor open while a slow client is served, never holds more than a MiB
of a file, and inserts the file document before the chunks (see the package).
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bson.int64 import Int64
from bson.objectid import ObjectId

from duckmail.errors import Unavailable
from storage.mongo.client import Database, operation

BUCKET = "blobs"
CHUNK = 255 * 1024
WINDOW = 4  # chunks per insert and per query: about 1 MiB

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    (f"{BUCKET}.chunks", [("files_id", 1), ("n", 1)], {"unique": True}),
)


@dataclass(frozen=True, slots=True)
class NewFile:
    """`pieces` gives the octets in pieces of CHUNK, the last one shorter; called once."""

    length: int
    pieces: Callable[[], Iterator[bytes]]


class Files:
    """The files of one bucket."""

    def __init__(self, database: Database, bucket: str = BUCKET) -> None:
        self._files = database[f"{bucket}.files"]
        self._chunks = database[f"{bucket}.chunks"]

    async def write(self, files: Sequence[NewFile], ids: Sequence[ObjectId] = ()) -> list[ObjectId]:
        """The ids of new files, in order, whose octets are durable on return. `ids`: that they are to have.

        Raises:
            Unavailable: the database does not answer; what was written is left to the sweep.
        """
        ids = list(ids) or [ObjectId() for _ in files]
        now = datetime.now(UTC)
        documents = [
            {"_id": file, "length": Int64(new.length), "chunkSize": CHUNK, "uploadDate": now}
            for file, new in zip(ids, files, strict=True)
        ]
        async with operation():
            await self._files.insert_many(documents)
        window: list[dict[str, object]] = []
        octets = 0
        for file, new in zip(ids, files, strict=True):
            for number, piece in enumerate(new.pieces()):
                window.append({"files_id": file, "n": number, "data": piece})
                octets += len(piece)
                if octets >= WINDOW * CHUNK:
                    await self._insert(window)
                    window, octets = [], 0
        await self._insert(window)
        return ids

    async def _insert(self, window: list[dict[str, object]]) -> None:
        if window:
            async with operation():
                await self._chunks.insert_many(window)

    async def read(self, file: ObjectId, start: int, stop: int) -> AsyncIterator[bytes]:
        """The octets `start` to `stop` of a file, in pieces of at most CHUNK.

        Raises:
            Unavailable: the database does not answer, or a chunk is missing.
        """
        last = (stop - 1) // CHUNK
        for first in range(start // CHUNK, last + 1, WINDOW):
            count = min(WINDOW, last + 1 - first)
            query = {"files_id": file, "n": {"$gte": first, "$lt": first + count}}
            async with operation():
                # One batch holds them all, so no cursor stays open between two windows.
                cursor = self._chunks.find(query, {"_id": 0, "n": 1, "data": 1}).sort("n", 1)
                chunks = await cursor.to_list(None)
            if [chunk["n"] for chunk in chunks] != list(range(first, first + count)):
                raise Unavailable(error="chunks are missing", file=str(file), first=first)
            for chunk in chunks:
                base = chunk["n"] * CHUNK
                data: bytes = chunk["data"]
                yield data if start <= base and base + len(data) <= stop else data[max(start - base, 0) : stop - base]

    async def delete(self, files: Sequence[ObjectId]) -> None:
        """Removes files that nothing names; the file documents last, so that an interrupted removal is found again.

        Raises:
            Unavailable: the database does not answer; some may be left.
        """
        async with operation(120):
            await self._chunks.delete_many({"files_id": {"$in": list(files)}})
            await self._files.delete_many({"_id": {"$in": list(files)}})
