"""COMPRESS=DEFLATE: streams, limits, and a session over it."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from duckmail.model.message import NewMessage
from duckmail.runtime.tasks import Tasks
from protocols.imap.deflate import INFLATED, BadStream, Deflate, Inflate
from protocols.imap.settings import ImapSettings
from tests.support.imap import ImapHouse, open_imap
from tests.support.memory import MemoryClient, MemoryConnection


def raw(data: bytes, *, finish: bool = False) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    return stream.compress(data) + stream.flush(zlib.Z_FINISH if finish else zlib.Z_SYNC_FLUSH)


@pytest.mark.parametrize("filled", [False, True], ids=["short", "filled"])
def test_all_that_was_flushed_can_be_read(filled: bool) -> None:
    deflate, reader = Deflate(), zlib.decompressobj(-15)
    for size in (1, 10, 10_000, 3):
        data = bytes(range(256)) * size
        octets = deflate.add(data[:100]) + deflate.add(data[100:]) + deflate.flush(filled=filled)
        assert reader.decompress(octets) == data
        assert (len(octets) >= len(data)) is (filled or size == 1)
    assert deflate.flush(filled=filled) == b""


def test_a_bomb_comes_in_small_pieces() -> None:
    inflate = Inflate()
    inflate.feed(raw(b"a" * 50_000_000))
    total = 0
    while piece := inflate.take():
        assert len(piece) <= INFLATED
        total += len(piece)
    assert total == 50_000_000


@pytest.mark.parametrize("size", [0, 1, INFLATED - 1, INFLATED, INFLATED + 1, 2 * INFLATED])
def test_nothing_is_left_behind(size: int) -> None:
    inflate = Inflate()
    data = bytes(index * 7 % 251 for index in range(size))
    inflate.feed(raw(data))
    found = b""
    while piece := inflate.take():
        found += piece
    assert found == data


@pytest.mark.parametrize("octets", [b"\xff\xff\xff\xff", raw(b"", finish=True)], ids=["garbage", "ended"])
def test_no_stream(octets: bytes) -> None:
    inflate = Inflate()
    inflate.feed(octets)
    with pytest.raises(BadStream):
        inflate.take()


class Compressed:
    """A client on the other side of it."""

    def __init__(self, client: MemoryClient) -> None:
        self._client = client
        self._in, self._out = zlib.decompressobj(-15), zlib.compressobj(6, zlib.DEFLATED, -15)
        self._text = b""

    async def send(self, text: bytes) -> None:
        await self._client.send(self._out.compress(text) + self._out.flush(zlib.Z_SYNC_FLUSH))

    async def until(self, connection: MemoryConnection, end: bytes) -> bytes:
        while end not in self._text:
            self._text += self._in.decompress(await connection.outgoing.take(1 << 16, 20))
        head, _, rest = self._text.partition(end)
        self._text = rest.partition(b"\r\n")[2]
        return head


SETTINGS = ImapSettings(plaintext_login=True)
SPEAKING = ImapSettings(plaintext_login=True, progress_interval=0.0001)


@asynccontextmanager
async def served(
    house: ImapHouse, settings: ImapSettings = SETTINGS
) -> AsyncIterator[tuple[MemoryConnection, MemoryClient]]:
    """A session that has greeted; it must end by itself behind the block."""
    connection = MemoryConnection()
    serve = house.serve(settings)
    async with Tasks("test") as tasks:
        session = tasks.start(serve(connection), "session")  # type: ignore[arg-type]  # it behaves as a Connection
        client = MemoryClient(connection)
        await client.line(20)
        yield connection, client
        await asyncio.wait_for(session, 20)


async def test_a_session(mongo_uri: str, database_name: str) -> None:
    async with open_imap(mongo_uri, database_name) as house, served(house) as (connection, plain):
        await plain.send(b"a COMPRESS DEFLATE\r\nb LOGIN anna secret\r\n")
        assert (await plain.line(20)).startswith(b"a BAD")
        assert b"COMPRESS=DEFLATE" in await plain.line(20)
        await plain.send(b"c COMPRESS GZIP\r\n")
        assert await plain.line(20) == b"c BAD Unknown compression mechanism\r\n"
        await plain.send(b"d COMPRESS DEFLATE\r\n")
        assert await plain.line(20) == b"d OK DEFLATE active\r\n"
        client = Compressed(plain)
        await client.send(b"e COMPRESS DEFLATE\r\n")
        await client.until(connection, b"e NO [COMPRESSIONACTIVE]")
        body = b"0123456789abcdef\r\n" * 20_000
        await client.send(b"f APPEND INBOX {%d+}\r\n%b\r\n" % (len(body), body))
        await client.until(connection, b"f OK [APPENDUID")
        await client.send(b"g SELECT INBOX\r\nh FETCH 1 BODY[]\r\ni CAPABILITY\r\n")
        await client.until(connection, b"g OK")
        assert body in await client.until(connection, b"h OK")
        assert b"COMPRESS" not in await client.until(connection, b"i OK")
        await client.send(b"j IDLE\r\n")
        await client.until(connection, b"+ idling")
        mail = await house.mail("anna")
        await mail.append("INBOX", [NewMessage(await mail.prepare(b"Subject: duck\r\n\r\n"), (), None)])
        assert (await client.until(connection, b" EXISTS")).endswith(
            b"* 2"
        )  # pushed at once, whatever the compressor would keep
        await mail.delete("Junk")
        await client.send(b"DONE\r\n")
        await client.until(connection, b"j OK")
        await plain.send(b"\xff\xff\xff\xff\xff\xff")  # the stream is broken: the session ends


async def test_who_is_logged_out_stays_compressed(mongo_uri: str, database_name: str) -> None:
    """RFC 8437 §3: UNAUTHENTICATE leaves the compression as it is; it is not offered to the next one either."""
    async with open_imap(mongo_uri, database_name) as house, served(house) as (connection, plain):
        await plain.send(b"a LOGIN anna secret\r\n")
        await plain.line(20)
        await plain.send(b"b COMPRESS DEFLATE\r\n")
        assert await plain.line(20) == b"b OK DEFLATE active\r\n"
        client = Compressed(plain)
        await client.send(b"c UNAUTHENTICATE\r\nd COMPRESS DEFLATE\r\ne LOGIN bert secret\r\nf CAPABILITY\r\n")
        await client.until(connection, b"c OK")
        await client.until(connection, b"d BAD COMPRESS is not allowed now")
        await client.until(connection, b"e OK")
        told = await client.until(connection, b"f OK")
        assert b"COMPRESS" not in told
        assert b"UNAUTHENTICATE" in told
        await client.send(b"g COMPRESS DEFLATE\r\nh LOGOUT\r\n")
        await client.until(connection, b"g NO [COMPRESSIONACTIVE]")
        await client.until(connection, b"h OK")


async def test_a_long_command_says_that_it_goes_on(mongo_uri: str, database_name: str) -> None:
    """RFC 9585: with the command's tag; not in IDLE, which only waits."""
    async with open_imap(mongo_uri, database_name) as house, served(house, SPEAKING) as (_, client):
        await client.send(b'a" LOGIN anna secret\r\nb LOGIN anna secret\r\n')
        lines = [await client.line(20)]
        while not lines[-1].startswith(b"b OK"):
            lines.append(await client.line(20))
        assert b'* OK [INPROGRESS ("b" NIL NIL)] Still working\r\n' in lines
        await client.send(b"c IDLE\r\n")
        while await client.line(20) != b"+ idling\r\n":
            pass
        await asyncio.sleep(0.02)
        assert await client.unread() == b""
        await client.send(b"DONE\r\n")
        assert await client.line(20) == b"c OK IDLE completed\r\n"
        client.end()
