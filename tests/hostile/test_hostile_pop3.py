"""POP3: H1 arguments, H2 plaintext before TLS, H3 and H4 limits, H7 large maildrops, H10 connections that vanish."""

import asyncio
import logging
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from duckmail.model.message import NewMessage
from protocols.net.limits import Limits
from protocols.pop3.server import OVERLOADED
from tests.support.hostile import Wire
from tests.support.net import serving, shared_contexts
from tests.support.pop3 import Pop3House, open_pop3
from tests.support.stores import message

LARGE = b"Subject: large\r\n\r\n" + b".line of sixteen\r\n" * 600_000  # more than the kernel buffers


@pytest.fixture(scope="session")
async def shared_pop3(mongo_uri: str, redis_url: str) -> AsyncIterator[Pop3House]:
    async with open_pop3(mongo_uri, "t_hostile_pop3", redis_url) as opened:
        await opened.put(message(1), LARGE)
        yield opened
        await opened.store.client.drop_database("t_hostile_pop3")


@pytest.fixture
async def pop3(shared_pop3: Pop3House, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Pop3House]:
    """H1: at the end of each test nothing has failed in an unexpected way, and nobody holds a maildrop."""
    yield shared_pop3
    async with asyncio.timeout(40):
        while await shared_pop3.store.database["maildrops"].count_documents({}):
            await asyncio.sleep(0.02)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@asynccontextmanager
async def connected(house: Pop3House, *, login: bool = False) -> AsyncIterator[Wire]:
    """A session over TCP that was greeted; STLS is offered, passwords are taken without it."""
    async with serving(house.serve(), tls=shared_contexts()) as (_, port):
        client = await Wire.open(port)
        try:
            assert (await client.line()).startswith(b"+OK")
            if login:
                await log_in(client)
            yield client
        finally:
            await client.close()


async def ask(client: Wire, line: bytes) -> bytes:
    await client.send(line + b"\r\n")
    return await client.line()


async def log_in(client: Wire, name: bytes = b"anna") -> None:
    await ask(client, b"USER " + name)
    assert (await ask(client, b"PASS secret")).startswith(b"+OK")


@pytest.mark.parametrize(
    "line",
    [
        *(pytest.param(word, id=f"H1-{word.decode()}-alone") for word in (b"RETR", b"DELE", b"TOP")),
        pytest.param(b"RETR NIL", id="H1-NIL"),
        pytest.param(b"RETR (1)", id="H1-list"),
        pytest.param(b"RETR 1 1", id="H1-two"),
        pytest.param(b"RETR -1", id="H1-negative"),
        pytest.param(b"RETR 0", id="H1-zero"),
        pytest.param(b"RETR " + b"9" * 10, id="H1-large"),
        pytest.param(b"RETR " + b"9" * 200, id="H4-digits"),
        pytest.param("RETR \u0661".encode(), id="H1-other-digits"),
        pytest.param(b"TOP 1 -1", id="H1-negative-lines"),
        pytest.param(b"TOP 1 1 1", id="H1-three"),
        pytest.param(b"LIST 1:*", id="H1-a-set"),
        pytest.param(b"UIDL {$ne: 1}", id="H11-an-operator"),
        pytest.param(b"LIST 1\x00", id="H1-nul"),
        pytest.param(b"\xff\xfe", id="H1-eight-bit"),
        pytest.param(b"", id="H1-empty"),
        pytest.param(b"(", id="H1-sign"),
        pytest.param(b"APPEND INBOX {5}", id="H1-another-protocol"),
        pytest.param(b"STAT" + b" " * 300, id="H4-line"),
        pytest.param(b"x" * 1_000_000, id="H4-very-long-line"),
        pytest.param(b"NOOP\nDELE 1", id="H4-bare-lf"),
    ],
)
async def test_h1_arguments(pop3: Pop3House, line: bytes) -> None:
    async with connected(pop3, login=True) as client:
        assert (await ask(client, line)).startswith(b"-ERR")
        assert (await ask(client, b"STAT")).startswith(b"+OK 2 ")


@pytest.mark.parametrize(
    "behind",
    [
        pytest.param(b"USER anna\r\nPASS secret\r\n", id="H2-commands"),
        pytest.param(b"USER an", id="H2-half-a-command"),
        pytest.param(b"x" * 300, id="H2-a-line-to-be-dropped"),
        pytest.param(b"AUTH PLAIN\r\n", id="H2-an-exchange"),
        pytest.param(b"\x16\x03\x01\x00", id="H2-half-a-client-hello"),
    ],
)
async def test_h2_stls(pop3: Pop3House, behind: bytes) -> None:
    async with connected(pop3) as client:
        await client.send(b"USER anna\r\nSTLS\r\n" + behind)
        assert (await client.line()).startswith(b"+OK Password")
        assert (await client.line()).startswith(b"+OK Begin TLS")
        await client.start_tls()
        assert (await ask(client, b"PASS secret")).startswith(b"-ERR USER"), "the first answer in TLS is to this"
        assert (await ask(client, b"STAT")).startswith(b"-ERR")
        await log_in(client)


async def test_h2_more_than_one_read(pop3: Pop3House) -> None:
    """What comes in plaintext while TLS is awaited spoils the handshake, and is no command either."""
    async with connected(pop3) as client:
        await client.send(b"STLS\r\n" + b"CAPA\r\n" * 50_000)
        said = await client.rest()
        assert said.startswith(b"+OK Begin TLS")
        assert b"UIDL" not in said


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"USER " + b"QUIT\r" * 20_000 + b"\r\n", id="H3-line"),
        pytest.param(b"PASS " + b"x" * 300 + b"\r\n", id="H3-password"),
        pytest.param(b"AUTH PLAIN " + b"A" * 300 + b"\r\n", id="H3-initial-response"),
    ],
)
async def test_h3_before_login(pop3: Pop3House, octets: bytes) -> None:
    async with connected(pop3) as client:
        await client.send(octets)
        assert await client.line() == b"-ERR Line too long"
        await log_in(client)


async def test_h3_the_line_of_an_exchange(pop3: Pop3House) -> None:
    async with connected(pop3) as client:
        assert await ask(client, b"AUTH PLAIN") == b"+ "
        assert await ask(client, b"QUIT" * 100_000) == b"-ERR Line too long"
        await log_in(client)


async def test_h4_too_many_errors_end_a_session(pop3: Pop3House) -> None:
    async with connected(pop3) as client:
        await client.send(b"NONSENSE\r\n" * 1000)
        said = (await client.rest()).splitlines()
    assert said == [b"-ERR Unknown command"] * 20 + [b"-ERR Too many errors, closing connection"]


async def test_h7_a_large_maildrop_keeps_nobody_waiting(pop3: Pop3House) -> None:
    """Another session has its answers while one lists and deletes 5,000 messages."""
    mail = await pop3.mail("bert")
    content = await mail.prepare(message(7))
    for _ in range(10):
        await mail.append("INBOX", [NewMessage(content) for _ in range(500)])
    await pop3.store.database["users"].update_one({"username": "bert"}, {"$set": {"pop3MaxMessages": 5000}})
    waits: list[float] = []

    async def work(client: Wire) -> None:
        await log_in(client, b"bert")
        await client.send(b"LIST\r\nUIDL\r\n" + b"".join(b"DELE %d\r\n" % number for number in range(1, 5001)))
        await client.send(b"STAT\r\nQUIT\r\n")
        said = await client.rest()
        assert said.count(b"+OK Message ") == 5000
        assert said.endswith(b"+OK 0 0\r\n+OK Bye\r\n")

    async with connected(pop3, login=True) as other, connected(pop3) as client:
        working = asyncio.get_running_loop().create_task(work(client))
        while not working.done():
            begun = time.monotonic()
            assert await ask(other, b"NOOP") == b"+OK"
            waits.append(time.monotonic() - begun)
        await working
    assert len(waits) > 20
    assert max(waits) < 5
    assert await pop3.stored("INBOX", "bert") == []


async def test_h10_who_vanishes_gives_the_maildrop_back(pop3: Pop3House) -> None:
    """A reset in the middle of a message, again and again."""
    async with serving(pop3.serve()) as (_, port):
        for _ in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"USER anna\r\nPASS secret\r\nRETR 2\r\nDELE 1\r\nQUIT\r\n")
            assert await reader.readline()
            assert await reader.readline()
            line = await reader.readline()
            assert line.startswith(b"+OK Logged in"), "the one before has given it back"
            await reader.readexactly(100_000)
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            async with asyncio.timeout(40):
                while await pop3.store.database["maildrops"].count_documents({}):
                    await asyncio.sleep(0.02)
    assert len(await pop3.stored("INBOX")) == 2, "a QUIT that was never reached"


async def test_h10_connections_over_the_limit(pop3: Pop3House) -> None:
    async with serving(pop3.serve(), limits=Limits(1), refusal=OVERLOADED) as (_, port):
        first, second = await Wire.open(port), await Wire.open(port)
        assert (await first.line()).startswith(b"+OK")
        assert (await second.rest()) == OVERLOADED
        for client in (first, second):
            await client.close()
