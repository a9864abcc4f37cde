"""A process that dies while it stores a message leaves nothing but what the sweep finds."""

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from bson.objectid import ObjectId

from storage.sweep import DAY, HOUR, Sweep
from tests.support.contents import Store, attachment, multipart, octets, open_store, read

RAW = multipart(*(attachment(octets(600_000, seed)) for seed in range(5)))
NOTHING = {"contents": 0, "texts": 0, "parts": 0, "blobs.files": 0, "blobs.chunks": 0}

# Says when it has come to the given point, and stays there.
SCRIPT = """
import asyncio, sys
from tests.faults.test_contents_killed import RAW
from tests.support.contents import open_store
from storage.blobs.files import Files
from storage.mongo import commands, pipeline

uri, name, point, count = sys.argv[1:]
seen = 0

async def reached(where):
    global seen
    if where == point:
        seen += 1
        if seen == int(count):
            print(where, flush=True)
            await asyncio.sleep(60)

class Watched(Files):
    async def _insert(self, window):
        await super()._insert(window)
        await reached("chunks")

async def main():
    async with open_store(uri, name) as store:
        store.contents.parts.files = Watched(store.database)
        prepared = await store.contents.prepare(RAW)
        await reached("prepared")
        await pipeline.run(
            store.database, [commands.insert_new("texts", [prepared.text_document], {"w": "majority"})]
        )
        await reached("texts")
        await store.contents.insert_many([prepared])
        await reached("inserted")

asyncio.run(main())
"""


@pytest.fixture
async def store(mongo_uri: str, database_name: str) -> AsyncIterator[Store]:
    async with open_store(mongo_uri, database_name) as opened:
        yield opened


@pytest.mark.parametrize(
    ("point", "count"), [("chunks", 1), ("chunks", 2), ("prepared", 1), ("texts", 1), ("inserted", 1)]
)
async def test_killed(store: Store, mongo_uri: str, database_name: str, point: str, count: int) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SCRIPT, mongo_uri, database_name, point, str(count), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == f"{point}\n".encode()
    process.kill()
    await process.wait()
    left = await store.counts()
    assert left["blobs.chunks"] > 0
    assert left["contents"] == (point == "inserted")
    # The relay's retry, at another process, is not disturbed by what was left...
    retried = await store.add(RAW)
    await store.database["messages"].insert_one({"content": ObjectId(retried)})
    sweep = Sweep(store.database)
    now = datetime.now(UTC)
    for hours in range(3):
        await sweep.run(now + 2 * DAY + hours * HOUR)
    # ... and nothing but the message remains of both.
    assert await store.counts() == {"contents": 1, "texts": 1, "parts": 5, "blobs.files": 5, "blobs.chunks": 15}
    loaded = await store.contents.load([retried])
    assert await read(loaded[retried]) == RAW
    await store.database["messages"].delete_many({})
    for hours in range(3):
        await sweep.run(now + 4 * DAY + hours * HOUR)
    assert await store.counts() == NOTHING
