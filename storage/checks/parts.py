"""Parts against their files, files against their chunks, and, deep, the octets against the hash that names them."""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from hashlib import sha256

from bson.objectid import ObjectId

from storage import sweep
from storage.blobs.files import BUCKET, CHUNK, WINDOW
from storage.checks.difference import Counts, Difference, snapshot, walk
from storage.mongo.client import Database, Document, operation

BATCH = 500
WALK_SECONDS = 3600.0


def examine(database: Database, counts: Counts, *, deep: bool) -> AsyncIterator[Difference]:
    """All parts. `deep`: reads and hashes every octet of them. Raises: Unavailable."""
    return walk(partial(_batch, database, counts), BATCH, _where, partial(_hash, database) if deep else None)


async def _batch(database: Database, counts: Counts, last: object) -> tuple[list[Difference], list[Document]]:
    query = {} if last is None else {"_id": {"$gt": last}}
    async with snapshot(database) as session:
        cursor = database["parts"].find(query, session=session).sort("_id", 1).limit(BATCH)
        rows = await cursor.to_list(None)
        files = [row["file"] for row in rows]
        found = database[f"{BUCKET}.files"].find({"_id": {"$in": files}}, session=session)
        lengths = {file["_id"]: int(file["length"]) async for file in found}
        pipeline: list[Document] = [
            {"$match": {"files_id": {"$in": files}}},
            {"$group": {"_id": "$files_id", "chunks": {"$sum": 1}, "last": {"$max": "$n"}}},
        ]
        groups = await database[f"{BUCKET}.chunks"].aggregate(pipeline, session=session)
        chunks = {group["_id"]: (int(group["chunks"]), int(group["last"])) async for group in groups}
        named = await sweep.Parts(database).named([row["_id"] for row in rows], session) if rows else set()
    counts.parts += len(rows)
    counts.unnamed_parts += len(rows) - len(named)
    return [difference for row in rows for difference in _compare(row, lengths, chunks)], rows


def _where(row: Document) -> str:
    return f"part {row['_id'].hex()}"


def _compare(row: Document, lengths: dict[ObjectId, int], chunks: dict[ObjectId, tuple[int, int]]) -> list[Difference]:
    where, file, length = _where(row), row["file"], int(row["length"])
    if file not in lengths:
        return [Difference(where, "its file does not exist", found=str(file))]
    if lengths[file] != length:
        return [Difference(where, "length of its file", str(length), str(lengths[file]))]
    wanted = -(-length // CHUNK)
    count, last = chunks.get(file, (0, -1))
    if (count, last) != (wanted, wanted - 1):
        return [Difference(where, "chunks of its file", str(wanted), f"{count} up to number {last}")]
    return []


async def _hash(database: Database, row: Document) -> Difference | None:
    digest = sha256()
    octets = 0
    async with snapshot(database) as session:
        same = {"_id": row["_id"], "file": row["file"]}
        if await database["parts"].find_one(same, {"_id": 1}, session=session) is None:
            return None  # swept, or written anew, since the batch
        cursor = database[f"{BUCKET}.chunks"].find({"files_id": row["file"]}, {"data": 1}, session=session)
        async for chunk in cursor.sort("n", 1).batch_size(WINDOW):
            octets += len(chunk["data"])
            digest.update(chunk["data"])
    if octets != row["length"]:
        return Difference(_where(row), "octets of its chunks", str(row["length"]), str(octets))
    if digest.digest() != row["_id"]:
        return Difference(_where(row), "octets have another hash", found=digest.hexdigest())
    return None


async def count_unnamed(database: Database, counts: Counts) -> None:
    """Counts the files that no part names. Raises: Unavailable."""
    last: object = None
    while True:
        query = {} if last is None else {"_id": {"$gt": last}}
        async with snapshot(database) as session:
            cursor = database[f"{BUCKET}.files"].find(query, {"_id": 1}, session=session).sort("_id", 1).limit(BATCH)
            files = [row["_id"] async for row in cursor]
            parts = database["parts"].find({"file": {"$in": files}}, {"file": 1}, session=session)
            named = {row["file"] async for row in parts}
        counts.unnamed_files += len(set(files) - named)
        if len(files) < BATCH:
            return
        last = files[-1]


async def stray_chunks(database: Database) -> AsyncIterator[Difference]:
    """Chunks of files that are not there: no sweep would find them. Raises: Unavailable."""
    chunks = database[f"{BUCKET}.chunks"]
    batch: list[ObjectId] = []
    async with operation(WALK_SECONDS):
        cursor = await chunks.aggregate([{"$group": {"_id": "$files_id"}}], allowDiskUse=True)
        async for row in cursor:
            batch.append(row["_id"])
            if len(batch) >= BATCH:
                for file in await _without_file(database, batch):
                    yield Difference(f"chunks of file {file}", "the file does not exist")
                batch.clear()
    for file in await _without_file(database, batch):
        yield Difference(f"chunks of file {file}", "the file does not exist")


async def _without_file(database: Database, files: Sequence[ObjectId]) -> list[ObjectId]:
    """Those of `files` that have chunks and no file document in one snapshot: a sweep may have removed both."""
    async with snapshot(database) as session:
        found = database[f"{BUCKET}.files"].find({"_id": {"$in": files}}, {"_id": 1}, session=session)
        missing = set(files) - {row["_id"] async for row in found}
        if not missing:
            return []
        left = database[f"{BUCKET}.chunks"].find({"files_id": {"$in": list(missing)}}, {"files_id": 1}, session=session)
        return sorted({row["files_id"] async for row in left})
