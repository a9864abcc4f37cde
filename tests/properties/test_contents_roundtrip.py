"""Any octets come back from the database, whole and in ranges, however their parts are stored."""

import base64
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.contents.segments import LEAF_PART
from tests.support.contents import Store, octets, open_store, read


@pytest.fixture(scope="module")
async def store(mongo_uri: str) -> AsyncIterator[Store]:
    name = "t_contents_roundtrip"
    async with open_store(mongo_uri, name) as opened:
        await opened.client.drop_database(name)
        yield opened
        await opened.client.drop_database(name)


@st.composite
def leaves(draw: st.DrawFn) -> bytes:
    """A body part around the size from which bodies become parts, its base64 regular or nearly so."""
    size = draw(st.sampled_from([10, LEAF_PART * 3 // 4 - 1, LEAF_PART, 3 * LEAF_PART, 300_000]))
    data = octets(size + draw(st.integers(0, 3)), draw(st.integers(0, 5)))
    line = draw(st.sampled_from([60, 64, 72, 75, 76, 998, 999, 10**7]))
    newline = draw(st.sampled_from([b"\r\n", b"\n"]))
    text = base64.b64encode(data)
    body = newline.join(text[at : at + line] for at in range(0, len(text), line))
    if draw(st.booleans()):
        at = draw(st.integers(0, len(body)))
        body = body[:at] + draw(st.sampled_from([b"=", b"\r\n", b" ", b"\n", b"*", b"A", b"\0"])) + body[at:]
    encoding = draw(st.sampled_from(["base64", "Base64", "7bit", "quoted-printable", "x-unknown"]))
    kind = draw(st.sampled_from(["text/plain", "image/png", "message/rfc822", "multipart/mixed", "nonsense"]))
    return f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode() + body


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    head = b"From: a\r\n" + draw(st.binary(max_size=40))
    parts = draw(st.lists(leaves(), max_size=4))
    boundary = b"\r\n--b\r\n"
    head += b'\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
    return head + boundary + boundary.join(parts) + draw(st.sampled_from([b"\r\n--b--\r\n", b"", b"\r\n--b--tail"]))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.one_of(messages(), leaves(), st.binary(max_size=300)), data=st.data())
async def test_any_octets_come_back(store: Store, raw: bytes, data: st.DataObject) -> None:
    identifier = await store.add(raw)
    content = (await store.contents.load([identifier]))[identifier]
    assert await read(content) == raw
    for _ in range(4):
        start = data.draw(st.integers(0, len(raw)))
        stop = data.draw(st.integers(start, len(raw)))
        assert await read(content, start, stop) == raw[start:stop]
