"""What SEARCH TEXT and BODY look in: the same text, wherever it is kept."""

from collections.abc import AsyncIterator

import pytest

from tests.support.contents import Store, attachment, multipart, octets, open_store, plain

HEADER = b"Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\nX-Folded: one\r\n two\r\n"


@pytest.fixture
async def store(mongo_uri: str, database_name: str) -> AsyncIterator[Store]:
    async with open_store(mongo_uri, database_name) as opened:
        yield opened


async def search(store: Store, *ids: str) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    async for batch in store.contents.search_texts(ids):
        for text in batch:
            assert text.id not in found
            found[text.id] = (text.header, "".join(text.body))
    return found


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        pytest.param(b"Subject: hi\r\n\r\nplain text", False, id="plain"),
        pytest.param(b"Subject: hi\r\n" + plain("plain grün"), False, id="utf8"),
        pytest.param(b"Subject: hi\r\n" + plain("plain grün", "8bit", "iso-8859-1"), False, id="latin1"),
        pytest.param(b"Subject: hi\r\n" + plain("plain grün", "base64"), True, id="base64"),
        pytest.param(b"Subject: hi\r\n" + plain("plain text " * 20_000), True, id="in-a-part"),
        pytest.param(HEADER + b"\r\nplain", True, id="encoded-words"),
        pytest.param(b"Subject: hi\r\n" + plain("plain +2AA- x", "base64", "utf-7"), True, id="lone-surrogate"),
        pytest.param(multipart(plain("plain"), attachment(octets(170_000))), True, id="attachment"),
        pytest.param(multipart(plain("plain " * 300_000), attachment(octets(999_999))), False, id="much-text"),
        pytest.param(b"A: " + b"subject " * 200_000 + b"\r\n\r\nplain", False, id="much-header"),
    ],
)
async def test_kept_or_made_the_text_is_the_same(store: Store, raw: bytes, kept: bool) -> None:
    identifier = await store.add(raw)
    assert (await store.counts())["texts"] == kept
    found = (await search(store, identifier))[identifier]
    assert "plain" in found[1]
    assert "ubject" in found[0]
    # Without its document it is decoded from the content.
    await store.database["texts"].delete_many({})
    assert (await search(store, identifier))[identifier] == found


async def test_words_are_decoded(store: Store) -> None:
    raw = HEADER + plain("naïve café", "base64", "iso-8859-1")
    identifier = await store.add(raw)
    header, body = (await search(store, identifier))[identifier]
    assert "grüße" in header
    assert "one two" in header
    assert "naïve café" in body


async def test_attachments_are_not_text_and_are_not_read(store: Store) -> None:
    raw = multipart(plain("needle " * 200_000), attachment(octets(2_000_000)))
    identifier = await store.add(raw)
    largest = await store.database["parts"].find_one({"length": 2_000_000})
    await store.database["blobs.chunks"].delete_many({"files_id": largest["file"]})
    _, body = (await search(store, identifier))[identifier]
    assert body.count("needle") == 200_000


async def test_many_at_once(store: Store) -> None:
    raws = [
        *(f"Subject: {number}\r\n\r\nbody {number}".encode() for number in range(40)),
        *(multipart(plain(f"large {number} " * 150_000), subject=str(number)) for number in range(3)),
        *(multipart(plain(f"kept {number} " * 80_000), subject=str(number)) for number in range(8)),
    ]
    ids = [await store.add(raw) for raw in raws]
    found = await search(store, *ids)
    assert set(found) == set(ids)
    assert found[ids[7]][1].strip() == "body 7"
    assert found[ids[41]][1].count("large 1") == 150_000
    assert found[ids[-1]][1].count("kept 7") == 80_000
