"""Deliveries, copies and expunges of the same attachments while sweeps run without a pause: nothing named is ever lost.

The day and the hour are seconds here; everything else is as it is in production.
"""

import asyncio
import random
import time
from datetime import timedelta

from bson.objectid import ObjectId

from storage.sweep import Sweep
from tests.support.contents import Store, attachment, multipart, octets, open_store, read

SECONDS = 6.0
# A crowded machine may stand still for a second or two between a content and the message that names it.
UNTOUCHED = timedelta(seconds=4)
DYING = timedelta(seconds=1.5)
FRESH = timedelta(seconds=1)
LONGEST = 60.0  # seconds until all is swept that nobody names
RAWS = [multipart(attachment(octets(150_000 + seed, seed)), subject=str(seed)) for seed in range(40)]


async def user(store: Store, chance: random.Random, end: float, stored: list[int]) -> None:
    messages = store.database["messages"]
    while time.monotonic() < end:
        which = chance.randrange(len(RAWS))
        content = await store.add(RAWS[which])
        message = (
            await messages.insert_one({"content": ObjectId(content), "raw": which, "mailbox": ObjectId()})
        ).inserted_id
        stored[0] += 1
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(chance.random() * 0.3)
            found = await messages.find_one({"_id": message})
            assert found is not None
            copy = (await messages.insert_one({**found, "_id": ObjectId(), "mailbox": ObjectId()})).inserted_id
            await messages.delete_one({"_id": message})
            message = copy
        if chance.random() < 0.97:
            await messages.delete_one({"_id": message})


async def unnamed(store: Store) -> bool:
    """Whether something is there that no message names."""
    messages, counts = store.database["messages"], await store.counts()
    contents, parts = len(await messages.distinct("content")), len(await messages.distinct("raw"))
    return counts["contents"] > contents or counts["parts"] > parts


async def test_nothing_named_is_lost(mongo_uri: str, database_name: str) -> None:
    end = time.monotonic() + SECONDS
    stored, swept = [0], [0, 0]

    async def sweep(store: Store) -> None:
        sweeper = Sweep(store.database, untouched=UNTOUCHED, dying=DYING, batch=7)
        while time.monotonic() < end or (await unnamed(store) and time.monotonic() < end + LONGEST):
            result = await sweeper.run()
            swept[0] += result.contents
            swept[1] += result.parts
            await asyncio.sleep(0.02)

    async with open_store(mongo_uri, database_name, FRESH) as one, open_store(mongo_uri, database_name, FRESH) as two:
        users = [user(store, random.Random(seed), end, stored) for seed, store in enumerate([one, two] * 4)]
        await asyncio.gather(*users, sweep(one), sweep(two))
        left = await one.database["messages"].find({}).to_list(None)
        loaded = await one.contents.load([str(row["content"]) for row in left])
        for row in left:
            assert await read(loaded[str(row["content"])]) == RAWS[row["raw"]]
        counts = await one.counts()
        named = {row["content"] for row in left}
        print(f"stored {stored[0]}, swept {swept}, left {len(left)}, {counts}")
        assert counts["contents"] == counts["texts"] == len(named)
        assert counts["parts"] == len({row["raw"] for row in left})
        assert min(swept) > 1
