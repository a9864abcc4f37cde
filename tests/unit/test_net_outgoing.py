"""Connections that this server makes: TLS from the client's side, and the farewell."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from protocols.net.outgoing import Outgoing, PlaintextBehindAnswer
from tests.support.letters import contexts
from tests.support.net import on_both_loops, shared_contexts

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def dialled(serve: Serve, context: ssl.SSLContext | None = None) -> AsyncIterator[Outgoing]:
    """A connection to a server with that one session."""
    ended = asyncio.Event()
    ended.set()  # a session whose TLS fails does not even begin

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended.clear()
        with contextlib.suppress(OSError):
            await serve(reader, writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        ended.set()

    server = await asyncio.start_server(session, "127.0.0.1", 0, ssl=context)
    wire = await Outgoing.dial("127.0.0.1", server.sockets[0].getsockname()[1], 5)
    try:
        yield wire
    finally:
        wire.abort()
        server.close()
        await asyncio.wait_for(ended.wait(), 10)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


@on_both_loops
async def test_tls_from_the_clients_side() -> None:
    octets = b"x" * 300_000
    async with dialled(echo, shared_contexts().server) as wire:
        await wire.secure(contexts().opportunistic, "mail.example", 5)
        assert wire.tls
        wire.write(octets)
        got = b""
        while len(got) < len(octets):
            got += await wire.receive(5)
        assert got == octets


@on_both_loops
async def test_who_does_not_prove_its_name_is_left() -> None:
    async with dialled(echo, shared_contexts().server) as wire:
        with pytest.raises(ssl.SSLCertVerificationError):
            await wire.secure(contexts().verifying, "mail.example", 5)
        assert wire.is_closing


async def test_a_handshake_has_a_time() -> None:
    async with dialled(echo_nothing) as wire:
        with pytest.raises(TimeoutError):
            await wire.secure(contexts().opportunistic, "mail.example", 0.1)


async def echo_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(-1)


async def test_octets_that_came_before_tls_are_no_part_of_it() -> None:
    async def inject(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"250 injected\r\n")
        await echo(reader, writer)

    async with dialled(inject) as wire:
        while not wire.readable:
            await asyncio.sleep(0.01)
        with pytest.raises(PlaintextBehindAnswer):
            await wire.secure(contexts().opportunistic, "mail.example", 5)
        assert not wire.tls


async def test_nobody_there() -> None:
    with pytest.raises(OSError, match="Connect"):
        await Outgoing.dial("127.0.0.1", 1, 5)


@pytest.mark.parametrize("tls", [False, True], ids=["plaintext", "tls"])
async def test_the_last_line_is_heard_before_the_end(tls: bool) -> None:
    told: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told.append(await reader.readline())
        await asyncio.sleep(0.1)
        writer.write(b"221 bye\r\n")
        await writer.drain()
        told.append(await reader.read())

    async with dialled(serve, shared_contexts().server if tls else None) as wire:
        if tls:
            await wire.secure(contexts().opportunistic, "mail.example", 5)
        wire.write(b"QUIT\r\n")
        wire.leave(600)
        assert not wire.is_closing
        await asyncio.wait_for(wire.closing.wait(), 60)
    assert told == [b"QUIT\r\n", b""]


async def test_who_does_not_answer_is_left_in_time() -> None:
    async with dialled(echo_nothing) as wire:
        wire.leave(0.1)
        await asyncio.wait_for(wire.closing.wait(), 60)  # this peer never says a word


async def test_who_spoke_already_is_left_at_once() -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\r\n")
        await reader.read()

    async with dialled(speak) as wire:
        while not wire.readable:
            await asyncio.sleep(0.01)
        wire.leave(5)
        assert wire.is_closing
