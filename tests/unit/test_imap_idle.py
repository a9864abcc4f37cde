"""IDLE: whatever the moment of a change, the client is told of it at once; compressed or not."""

import asyncio
import zlib
from collections.abc import AsyncIterator

import pytest

from duckmail.model.message import NewMessage
from duckmail.runtime.tasks import Tasks
from duckmail.services.mail import Mail
from protocols.imap import session as session_module
from protocols.imap import writer as writer_module
from protocols.imap.settings import ImapSettings
from tests.support.imap import ImapHouse, open_imap
from tests.support.imap_client import ImapClient
from tests.support.net import client, client_context, serving, shared_contexts

SETTINGS = ImapSettings(plaintext_login=True)
SECONDS = 30.0
ROUNDS = 50


@pytest.fixture
async def house(mongo_uri: str, database_name: str) -> AsyncIterator[ImapHouse]:
    async with open_imap(mongo_uri, database_name) as opened:
        yield opened


class Deflated:
    """A client that compresses, and reads `cut` octets at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._in, self._out = zlib.decompressobj(-15), zlib.compressobj(6, zlib.DEFLATED, -15)
        self._text = b""
        self.cut = 1 << 16
        self.came = self.said = 0  # octets, compressed and what they said

    async def begin(self) -> None:
        """From the greeting to a selected mailbox that is compressed."""
        self._writer.write(b"a LOGIN anna secret\r\nb SELECT INBOX\r\nc COMPRESS DEFLATE\r\n")
        async with asyncio.timeout(SECONDS):
            await self._reader.readuntil(b"c OK DEFLATE active\r\n")

    def send(self, line: bytes) -> None:
        self._writer.write(self._out.compress(line + b"\r\n") + self._out.flush(zlib.Z_SYNC_FLUSH))

    async def until(self, end: bytes) -> None:
        """Reads to a line that ends so."""
        async with asyncio.timeout(SECONDS):
            while end + b"\r\n" not in self._text:
                octets = await self._reader.read(self.cut)
                assert octets, "the server closed the connection"
                text = self._in.decompress(octets)
                assert self._in.unconsumed_tail == b""
                self.came, self.said = self.came + len(octets), self.said + len(text)
                self._text += text
        self._text = self._text.partition(end + b"\r\n")[2]


async def append(mail: Mail, path: str = "INBOX") -> None:
    await mail.append(path, [NewMessage(await mail.prepare(b"Subject: duck\r\n\r\n"), (), None)])


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
async def test_what_arrives_as_idle_begins(tls: bool, house: ImapHouse, tasks: Tasks) -> None:
    """Before it, behind it, with it: told by what the server sends of itself, of which nothing is held back."""
    mail = await house.mail("anna")
    context = client_context() if tls else None
    async with (
        serving(house.serve(SETTINGS), tls=shared_contexts(), implicit_tls=tls) as (_, port),
        client(port, ssl=context) as streams,
    ):
        reader = Deflated(*streams)
        await reader.begin()
        for number in range(1, ROUNDS + 1):
            reader.cut = number % 7 + 1
            arrival = tasks.start(append(mail), "append")
            for _ in range(number % 25):  # turns of the loop
                await asyncio.sleep(0)
            reader.send(b"d IDLE")
            await reader.until(b"* %d EXISTS" % number)
            await arrival
            reader.send(b"DONE")
            await reader.until(b"d OK IDLE completed")


async def test_what_is_told_in_idle_is_no_shorter_compressed(house: ImapHouse) -> None:
    """Thunderbird reads as many octets as have come compressed, and does not look for more before something comes."""
    mail = await house.mail("anna")
    async with serving(house.serve(SETTINGS)) as (_, port), client(port) as streams:
        reader = Deflated(*streams)
        await reader.begin()
        for number in range(1, 11, 2):  # the more it has said, the less is needed to say it again
            await append(mail)
            reader.came = reader.said = 0
            reader.send(b"d IDLE")
            await reader.until(b"* %d RECENT" % number)
            assert reader.came >= reader.said
            await append(mail)
            await reader.until(b"* %d RECENT" % (number + 1))
            assert reader.came >= reader.said
            reader.send(b"DONE")
            await reader.until(b"d OK IDLE completed")
        reader.came = reader.said = 0
        reader.send(b"e FETCH 1:* FLAGS")
        await reader.until(b"e OK FETCH completed")
        assert reader.came < reader.said / 2


@pytest.mark.parametrize("gone", [False, True], ids=["a-message-arrives", "the-mailbox-is-deleted"])
async def test_what_changes_while_the_client_is_waited_for(
    gone: bool, house: ImapHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client is slow to read what IDLE has to tell first: what happens meanwhile is told behind it."""
    monkeypatch.setattr(session_module, "SLICE", 1)
    monkeypatch.setattr(writer_module, "GATHERED", 1)
    mail = await house.mail("anna")
    await mail.create("doomed")
    for _ in range(3):
        await append(mail, "doomed")
    slow, other = ImapClient(house, SETTINGS), ImapClient(house, SETTINGS)
    for each in (slow, other):
        await each.log_in()
        await each.ok("SELECT doomed")
    await other.ok("STORE 1:3 +FLAGS (\\Seen)")
    await other.send("IDLE")
    slow.connection.outgoing.limit = 0
    await slow.send("IDLE")
    told = slow.connection.outgoing
    await told.wait(lambda: b"* 1 FETCH" in told.buffer, SECONDS)
    assert b"* 3 FETCH" not in told.buffer
    if gone:
        await mail.delete("doomed")
    else:
        await append(mail, "doomed")
    news = "* BYE The selected mailbox was deleted" if gone else "* 4 EXISTS"
    async with asyncio.timeout(SECONDS):
        for each in (other, slow):  # the view is one of both: when the one was told, it has changed for the other
            while await each.line() != news:
                pass
    await slow.vanish()
    await other.vanish()
