"""The sweep takes what nobody names, and never anything else, whatever happens while it looks."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson.objectid import ObjectId

from storage.blobs.files import NewFile
from storage.mongo.client import Database
from storage.sweep import DAY, HOUR, REFERRERS, Kind, Sweep, Swept
from tests.support.contents import Store, attachment, multipart, octets, open_store, plain, read

MINUTE = timedelta(minutes=1)
DATA = octets(300_000)
RAW = multipart(plain("naïve " * 50, "base64"), attachment(DATA), subject="=?utf-8?q?h=C3=A9?=")
NOTHING = {"contents": 0, "texts": 0, "parts": 0, "blobs.files": 0, "blobs.chunks": 0}
ALL = {"contents": 1, "texts": 1, "parts": 1, "blobs.files": 1, "blobs.chunks": 2}


@pytest.fixture
async def store(mongo_uri: str, database_name: str) -> AsyncIterator[Store]:
    async with open_store(mongo_uri, database_name) as opened:
        yield opened


@pytest.fixture
def later() -> datetime:
    """When everything stored now has not been touched for a day."""
    return datetime.now(UTC) + DAY + MINUTE


async def name(store: Store, content: str, referrer: str = "messages") -> ObjectId:
    result = await store.database[referrer].insert_one({"content": ObjectId(content), "mailbox": ObjectId()})
    return result.inserted_id


async def test_what_nobody_names_goes_in_two_looks(store: Store, later: datetime) -> None:
    sweep = Sweep(store.database)
    await store.add(RAW)
    assert await store.counts() == ALL
    assert not await sweep.run(later - 2 * MINUTE)
    assert await sweep.run(later) == Swept(marked=1)
    assert not await sweep.run(later + HOUR - MINUTE)
    assert await store.counts() == ALL
    # What only the content named becomes due with it, and has its own hour.
    assert await sweep.run(later + HOUR) == Swept(contents=1, marked=1)
    assert await store.counts() == ALL | {"contents": 0, "texts": 0}
    assert await sweep.run(later + 2 * HOUR) == Swept(parts=1, files=1)
    assert await store.counts() == NOTHING


@pytest.mark.parametrize("referrer", REFERRERS)
async def test_what_somebody_names_stays(store: Store, later: datetime, referrer: str) -> None:
    content = await store.add(RAW)
    await name(store, content, referrer)
    sweep = Sweep(store.database)
    for days in range(0, 100, 9):
        assert not await sweep.run(later + days * DAY)
    loaded = await store.contents.load([content])
    assert await read(loaded[content]) == RAW


async def test_batches_cover_everything(store: Store, later: datetime) -> None:
    raws = [multipart(attachment(octets(170_000, seed))) for seed in range(7)]
    ids = [await store.add(raw) for raw in raws]
    await name(store, ids[3])
    sweep = Sweep(store.database, batch=2)
    for hours in range(4):
        await sweep.run(later + hours * HOUR)
    assert await store.counts() == {"contents": 1, "texts": 1, "parts": 1, "blobs.files": 1, "blobs.chunks": 1}
    loaded = await store.contents.load(ids)
    assert await read(loaded[ids[3]]) == raws[3]


async def test_many_names_of_many_contents(store: Store, later: datetime) -> None:
    part = attachment(DATA)
    ids = [await store.add(multipart(part, subject=str(number))) for number in range(130)]
    for content in ids[:110]:
        await name(store, content)
    sweep = Sweep(store.database)
    assert (await sweep.run(later)).marked == 20
    assert await sweep.run(later + HOUR) == Swept(contents=20)
    assert (await store.counts())["parts"] == 1


async def test_a_part_that_another_content_names_stays(store: Store, later: datetime) -> None:
    first, second = await store.add(RAW), await store.add(multipart(attachment(DATA, line=60)))
    assert (await store.counts())["parts"] == 1
    await name(store, second)
    sweep = Sweep(store.database)
    for hours in range(5):
        await sweep.run(later + hours * HOUR)
    assert await store.counts() == ALL
    loaded = await store.contents.load([first, second])
    assert list(loaded) == [second]
    assert await read(loaded[second]) == multipart(attachment(DATA, line=60))


async def test_a_copy_that_committed_after_the_first_look_is_seen_by_the_second(store: Store, later: datetime) -> None:
    content = await store.add(RAW)
    sweep = Sweep(store.database)
    await sweep.run(later)
    await name(store, content)
    assert await sweep.run(later + HOUR) == Swept(revived=1)
    assert not await sweep.run(later + 2 * HOUR)
    assert await store.counts() == ALL


async def test_parts_prepared_but_never_inserted_go(store: Store, later: datetime) -> None:
    await store.contents.prepare(RAW)
    sweep = Sweep(store.database)
    await sweep.run(later)
    await sweep.run(later + HOUR)
    assert await store.counts() == NOTHING


async def test_text_without_its_content_goes(store: Store, later: datetime) -> None:
    kept = await store.add(RAW)
    await name(store, kept)
    await store.database["texts"].insert_one({"_id": ObjectId(), "header": "", "text": ""})
    sweep = Sweep(store.database)
    assert not await sweep.run(later - 2 * MINUTE)
    assert await sweep.run(later) == Swept(texts=1)
    assert await store.counts() == ALL


async def test_young_files_stay_on_every_page_of_the_walk(store: Store) -> None:
    now = datetime.now(UTC)
    old = [{"_id": ObjectId.from_datetime(now - DAY - minutes * MINUTE)} for minutes in (1, 2, 3)]
    await store.database["blobs.files"].insert_many(old)
    await store.contents.parts.files.write([NewFile(0, lambda: iter([])) for _ in range(4)])
    assert await Sweep(store.database, batch=2).run(now) == Swept(files=3)
    assert (await store.counts())["blobs.files"] == 4


class Interrupted(Sweep):
    """Something happens between a look and what follows from it."""

    def __init__(self, database: Database, kind: str, happens: Callable[[], Awaitable[Any]]) -> None:
        super().__init__(database)
        self._interrupted = kind
        self._happens = happens

    async def _unnamed(self, kind: Kind, keys: Sequence[Any]) -> list[object]:
        unnamed = await super()._unnamed(kind, keys)
        if kind.collection.name == self._interrupted:
            await self._happens()
        return unnamed


async def test_touched_between_the_first_look_and_the_mark(store: Store, later: datetime) -> None:
    await store.add(RAW)

    async def touch() -> None:
        await store.database["contents"].update_many({}, {"$set": {"touched": later}})

    assert not await Interrupted(store.database, "contents", touch).run(later)


async def test_touched_between_the_second_look_and_the_deletion(store: Store, later: datetime) -> None:
    await store.add(RAW)
    await Sweep(store.database).run(later)

    async def touch() -> None:
        await store.database["contents"].update_many({}, {"$set": {"touched": later}})

    assert not await Interrupted(store.database, "contents", touch).run(later + HOUR)
    assert (await store.counts())["contents"] == 1


async def test_named_between_the_first_look_and_the_mark(store: Store, later: datetime) -> None:
    content = await store.add(RAW)
    assert (await Interrupted(store.database, "contents", lambda: name(store, content)).run(later)).marked == 1
    assert await Sweep(store.database).run(later + HOUR) == Swept(revived=1)


async def unnamed_part(store: Store, moment: datetime) -> None:
    """A part that nobody names, last touched so that at `moment` it is due."""
    await store.contents.prepare(RAW)
    await store.database["parts"].update_many({}, {"$set": {"touched": moment - DAY - MINUTE}})


async def add_and_name(store: Store) -> str:
    content = await store.add(RAW)
    await name(store, content)
    return content


@pytest.mark.parametrize("run", ["mark", "delete"])
async def test_a_part_comes_into_use_between_a_look_and_what_follows(store: Store, run: str) -> None:
    now = datetime.now(UTC)
    await unnamed_part(store, now - HOUR)
    if run == "delete":
        assert (await Sweep(store.database).run(now - HOUR)).marked == 1
    added: list[str] = []

    async def add() -> None:
        added.append(await add_and_name(store))

    await Interrupted(store.database, "parts", add).run(now)
    sweep = Sweep(store.database)
    for days in range(1, 6):
        await sweep.run(now + days * DAY)
    loaded = await store.contents.load(added)
    assert await read(loaded[added[0]]) == RAW
    assert (await store.counts())["parts"] == 1
    assert (await store.counts())["blobs.files"] == 1


async def test_a_marked_part_that_comes_into_use_is_written_anew(store: Store) -> None:
    now = datetime.now(UTC)
    await unnamed_part(store, now - HOUR)
    await Sweep(store.database).run(now - HOUR)
    content = await add_and_name(store)
    sweep = Sweep(store.database)
    for days in range(3):
        await sweep.run(now + days * DAY)
    loaded = await store.contents.load([content])
    assert await read(loaded[content]) == RAW
    assert (await store.counts())["blobs.files"] == 1


async def test_two_sweeps_at_once(store: Store, later: datetime) -> None:
    await store.add(RAW)
    named = await add_and_name(store)
    for hours in range(3):
        other = Sweep(store.database)
        moment = later + hours * HOUR
        await Interrupted(store.database, "contents", lambda at=moment, sweep=other: sweep.run(at)).run(moment)
    assert await store.counts() == ALL
    loaded = await store.contents.load([named])
    assert await read(loaded[named]) == RAW
