"""Contents in a real database: what was put in comes out, and what is derived from it is kept beside it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from bson.objectid import ObjectId

from duckmail.errors import NotFound, Unavailable
from duckmail.mime.envelope import envelope
from duckmail.mime.scan import scan
from duckmail.mime.structure import bodystructure
from storage.contents.stored import StoredContent
from tests.support.contents import Store, attachment, base64_lines, multipart, octets, open_store, plain, read

SMALL = b"From: a@example.org\r\nSubject: hi\r\n\r\nhello\r\n"
DATA = octets(700_000)
LARGE = multipart(plain("see below"), attachment(DATA), attachment(octets(180_000, 2), line=60), plain("bye"))
EMBEDDED = multipart(plain("forwarded"), b"Content-Type: message/rfc822\r\n\r\n" + LARGE, boundary="=_outer")


@pytest.fixture
async def store(mongo_uri: str, database_name: str) -> AsyncIterator[Store]:
    async with open_store(mongo_uri, database_name) as opened:
        yield opened


async def one(store: Store, identifier: str, header_only: bool = False) -> StoredContent:
    return (await store.contents.load([identifier], header_only))[identifier]


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\r\n", id="empty-line"),
        pytest.param(SMALL, id="small"),
        pytest.param(b"no header at all", id="no-header"),
        pytest.param(b"A: b\n\nbare\rline\nends\0\xff", id="not-a-message"),
        pytest.param(LARGE, id="attachments"),
        pytest.param(bytearray(LARGE), id="bytearray"),
        pytest.param(EMBEDDED, id="embedded"),
        pytest.param(SMALL + b"x" * 300_000, id="long-text"),
        pytest.param(b"A: " + b"y" * 600_000 + b"\r\n\r\nbody", id="long-header"),
        pytest.param(b"A: " + b"y" * 600_000, id="only-a-long-header"),
        pytest.param(LARGE[:-40_000], id="cut-off"),
    ],
)
async def test_bytes_in_are_bytes_out(store: Store, raw: bytes | bytearray) -> None:
    content = await one(store, await store.add(raw))
    assert await read(content) == raw
    index = scan(raw)
    assert content.index == index
    assert (content.size, content.header_size) == (len(raw), index.nodes[0].body_start)
    header = await one(store, content.id, header_only=True)
    assert await header.header_block() == raw[: index.nodes[0].body_start]
    for node in index.nodes:
        assert await read(content, node.body_start, node.body_end) == raw[node.body_start : node.body_end]
    for start, stop in [(-5, 3), (5, 5), (7, 6), (len(raw) - 3, len(raw) + 9), (len(raw), None), (100_000, 100_001)]:
        assert await read(content, start, stop) == raw[max(start, 0) : stop]


async def test_prepared_content_can_be_read_before_it_is_stored(store: Store) -> None:
    prepared = await store.contents.prepare(LARGE)
    assert await read(prepared) == LARGE
    assert await read(prepared, 5, 300_000) == LARGE[5:300_000]
    assert prepared.header == LARGE[: prepared.index.nodes[0].body_start]
    assert prepared.envelope == envelope(LARGE, prepared.index)
    assert prepared.bodystructure == bodystructure(LARGE, prepared.index)
    assert not prepared.inserted
    assert await store.contents.load([prepared.id]) == {}


async def test_inserting_again_changes_nothing(store: Store) -> None:
    prepared = [await store.contents.prepare(raw) for raw in (SMALL, LARGE)]
    await store.contents.insert_many(prepared)
    assert all(content.inserted for content in prepared)
    documents = await store.database["contents"].find({}).to_list(None)
    for content in prepared:
        content.inserted = False  # as if the answer had been lost
    more = await store.contents.prepare(EMBEDDED)
    await asyncio.gather(store.contents.insert_many([*prepared, more]), store.contents.insert_many([more, prepared[0]]))
    assert await store.database["contents"].find({}).limit(2).to_list(None) == documents
    assert (await store.counts())["contents"] == 3
    assert await read(await one(store, more.id)) == EMBEDDED


async def test_attachments_are_stored_once_and_decoded_however_they_are_wrapped(store: Store) -> None:
    one_line = b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: BASE64\r\n\r\n" + base64_lines(DATA, 10**9)
    raws = [LARGE, EMBEDDED, multipart(attachment(DATA, "b", 72)), multipart(one_line)]
    ids = [await store.add(raw) for raw in raws]
    assert (await store.counts())["parts"] == 2
    lengths = sorted([row["length"] async for row in store.database["parts"].find({})])
    assert lengths == sorted([180_000, len(DATA)])
    for identifier, raw in zip(ids, raws, strict=True):
        assert await read(await one(store, identifier)) == raw


async def test_a_range_reads_only_its_chunks(store: Store) -> None:
    raw = multipart(attachment(octets(3_000_000)))
    content = await one(store, await store.add(raw))
    await store.database["blobs.chunks"].delete_many({"n": {"$ne": 7}})
    low, high = 2_570_000, 2_600_000
    assert await read(content, low, high) == raw[low:high]
    with pytest.raises(Unavailable):
        await read(content, low - 300_000, high)


async def test_a_missing_part_is_unavailable(store: Store) -> None:
    content = await one(store, await store.add(LARGE))
    await store.database["parts"].delete_many({})
    with pytest.raises(Unavailable):
        await read(content)
    assert await read(content, 0, 10) == LARGE[:10]


async def test_header_only_has_nothing_else(store: Store) -> None:
    content = await one(store, await store.add(LARGE), header_only=True)
    with pytest.raises(RuntimeError):
        _ = content.index


async def test_unknown_contents(store: Store) -> None:
    assert await store.contents.load([str(ObjectId())]) == {}
    assert await store.contents.load([]) == {}
    with pytest.raises(NotFound):
        await store.contents.structures(str(ObjectId()))
    assert [batch async for batch in store.contents.search_texts([str(ObjectId())])] == []


@pytest.mark.parametrize("addresses", [600, 20_000])
async def test_large_structures_are_kept_with_the_content(store: Store, addresses: int) -> None:
    to = ",\r\n ".join(f'"Person {number}" <person{number}@example.org>' for number in range(addresses))
    raw = f"From: a@example.org\r\nTo: {to}\r\n\r\nhello\r\n".encode()
    prepared = await store.contents.prepare(raw)
    assert prepared.large
    await store.contents.insert_many([prepared])
    assert await store.contents.structures(prepared.id) == (prepared.envelope, prepared.bodystructure)
    assert await read(await one(store, prepared.id)) == raw


async def test_small_structures_are_left_to_the_messages(store: Store) -> None:
    prepared = await store.contents.prepare(LARGE)
    await store.contents.insert_many([prepared])
    assert not prepared.large
    with pytest.raises(NotFound):
        await store.contents.structures(prepared.id)


async def test_no_document_comes_near_the_limit(store: Store) -> None:
    parts = [plain("x" * 60_000) if number % 2 else attachment(octets(50_000, number)) for number in range(200)]
    raw = multipart(*parts)
    identifier = await store.add(raw)
    [document] = await store.database["contents"].find_raw_batches({}).to_list(None)
    assert len(document) < 1_600_000
    assert await read(await one(store, identifier)) == raw
