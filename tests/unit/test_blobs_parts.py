"""Parts in a real GridFS: stored once, read in any range, and never lost between two uploaders or a sweep."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from bson.objectid import ObjectId
from gridfs import AsyncGridFSBucket

from duckmail.errors import Unavailable
from storage.blobs import files as blob_files
from storage.blobs.files import CHUNK, Files, NewFile
from storage.blobs.parts import NewPart, Parts
from storage.contents.segments import new_part
from storage.mongo.client import Client, Database, Document, connect, database

DAYS_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
async def store(mongo_uri: str, database_name: str) -> AsyncIterator[Database]:
    client: Client = connect(mongo_uri)
    try:
        yield database(client, database_name)
    finally:
        await client.close()


def octets(length: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length)


async def read(files: Files, file: ObjectId, start: int, stop: int) -> bytes:
    return b"".join([piece async for piece in files.read(file, start, stop)])


async def content_of(parts: Parts, data: bytes) -> bytes:
    return await parts.read_all(sha256(data).digest(), len(data))


async def counts(store: Database) -> tuple[int, int, int]:
    """Parts, files, chunks."""
    names = ("parts", "blobs.files", "blobs.chunks")
    parts, files, chunks = [await store[name].count_documents({}) for name in names]
    return parts, files, chunks


@pytest.mark.parametrize("length", [1, CHUNK - 1, CHUNK, CHUNK + 1, 9 * CHUNK + 7])
async def test_ranges_of_a_file_are_slices(store: Database, length: int) -> None:
    files = Files(store)
    data = octets(length)
    part = new_part(data)
    [file] = await files.write([NewFile(length, part.pieces)])
    marks = sorted({0, 1, length // 3, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK, length - 1, length})
    marks = [mark for mark in marks if 0 <= mark <= length]
    for start in marks:
        for stop in marks:
            if start <= stop:
                assert await read(files, file, start, stop) == data[start:stop]


async def test_many_small_files_share_a_few_inserts(store: Database) -> None:
    files = Files(store)
    data = [octets(70_000, seed) for seed in range(40)]
    ids = await files.write([NewFile(len(each), new_part(each).pieces) for each in data])
    assert [await read(files, file, 0, 70_000) for file in ids] == data


async def test_a_gridfs_reader_can_read_it(store: Database) -> None:
    data = octets(2 * CHUNK + 5)
    [file] = await Files(store).write([NewFile(len(data), new_part(data).pieces)])
    stream = await AsyncGridFSBucket(store, bucket_name=blob_files.BUCKET).open_download_stream(file)
    assert await stream.read() == data


async def test_a_missing_chunk_is_an_error_not_short_data(store: Database) -> None:
    files = Files(store)
    data = octets(3 * CHUNK)
    [file] = await files.write([NewFile(len(data), new_part(data).pieces)])
    await store["blobs.chunks"].delete_one({"files_id": file, "n": 1})
    with pytest.raises(Unavailable):
        await read(files, file, 0, len(data))


async def test_the_same_octets_are_stored_once(store: Database) -> None:
    parts = Parts(store)
    data = octets(CHUNK * 2)
    await parts.store([new_part(data), new_part(octets(10, 2)), new_part(data)])
    await parts.store([new_part(data)])
    assert await counts(store) == (2, 2, 3)
    assert await content_of(parts, data) == data


async def test_a_part_touched_long_ago_is_touched_again(store: Database) -> None:
    parts = Parts(store)
    part = new_part(octets(10))
    await parts.store([part])
    fresh = (await store["parts"].find_one({}))["touched"]
    await parts.store([part])
    assert (await store["parts"].find_one({}))["touched"] == fresh  # within the hour: no write
    await store["parts"].update_one({}, {"$set": {"touched": DAYS_AGO}})
    await parts.store([part])
    assert (await store["parts"].find_one({}))["touched"] >= fresh
    assert await counts(store) == (1, 1, 1)


async def test_a_dying_part_is_written_anew(store: Database) -> None:
    parts = Parts(store)
    data = octets(CHUNK + 1)
    await parts.store([new_part(data)])
    mark = datetime.now(UTC)
    await store["parts"].update_one({}, {"$set": {"dying": mark, "touched": DAYS_AGO}})
    old = await store["parts"].find_one({})
    await parts.store([new_part(data)])
    new = await store["parts"].find_one({})
    assert "dying" not in new
    assert new["file"] != old["file"]
    # The sweeper that had marked it comes too late, and takes its time with the old file.
    deleted = await store["parts"].delete_one({"_id": old["_id"], "dying": old["dying"], "touched": old["touched"]})
    assert deleted.deleted_count == 0
    await parts.files.delete([old["file"]])
    assert await content_of(parts, data) == data


async def test_a_part_deleted_during_the_upload_is_inserted(store: Database) -> None:
    parts = Parts(store)
    data = octets(100)
    await parts.store([new_part(data)])
    await store["parts"].update_one({}, {"$set": {"dying": datetime.now(UTC), "touched": DAYS_AGO}})

    def pieces() -> Iterator[bytes]:
        swept.set()
        yield data

    swept = asyncio.Event()

    async def sweep() -> None:
        await swept.wait()
        await store["parts"].delete_one({"dying": {"$exists": True}})

    await asyncio.gather(parts.store([NewPart(sha256(data).digest(), len(data), pieces)]), sweep())
    assert await content_of(parts, data) == data


async def test_uploaders_race(store: Database) -> None:
    data = octets(CHUNK * 3 + 1)
    uploaders = [Parts(store) for _ in range(6)]
    await asyncio.gather(*(parts.store([new_part(data), new_part(data[:99])]) for parts in uploaders))
    assert await counts(store) == (2, 2, 5)  # each loser took its own files away
    assert await content_of(uploaders[0], data) == data
    assert await content_of(uploaders[0], data[:99]) == data[:99]


async def test_uploaders_race_for_a_dying_part(store: Database) -> None:
    data = octets(CHUNK + 5)
    uploaders = [Parts(store, fresh=timedelta(0)) for _ in range(6)]
    await uploaders[0].store([new_part(data)])
    await store["parts"].update_one({}, {"$set": {"dying": datetime.now(UTC), "touched": DAYS_AGO}})
    await asyncio.gather(*(parts.store([new_part(data)]) for parts in uploaders))
    assert (await counts(store))[:2] == (1, 2)  # the abandoned file is the sweep's
    assert await content_of(uploaders[0], data) == data


async def test_uploads_wait_for_a_place_and_find_what_came_meanwhile(store: Database) -> None:
    parts = Parts(store)
    data = octets(50_000)
    await asyncio.gather(*(parts.store([new_part(data)]) for _ in range(40)))
    assert await counts(store) == (1, 1, 1)


async def test_an_unknown_part_is_unavailable(store: Database) -> None:
    with pytest.raises(Unavailable):
        await Parts(store).read_all(bytes(32), 10)


class AnswerLost(Parts):
    """The first insert of a part document is carried out, but said to have met another's."""

    lost = False

    async def _insert(self, documents: list[Document]) -> list[int]:
        already = await super()._insert(documents)
        if self.lost:
            return already
        self.lost = True
        return list(range(len(documents)))


async def test_an_uploader_does_not_delete_the_file_that_became_the_part(store: Database) -> None:
    parts = AnswerLost(store)
    data = octets(CHUNK + 1)
    await parts.store([new_part(data)])
    assert await content_of(parts, data) == data
