"""H10: connections are limited in all, per network and per user, on every protocol; what ends gives its place back."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import pytest

from duckmail.app.listeners import API, IMAP, IMAPS, LMTP
from tests.support.hostile import House, Imap, Wire

TOTAL, NETWORK, USER = 8, 4, 2  # as in conftest


@pytest.fixture
async def strict(strict_house: House) -> House:
    """With nobody connected: sessions that were closed linger a little."""
    async with asyncio.timeout(40):
        while strict_house.connections:
            await asyncio.sleep(0.02)
    return strict_house


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


async def greeted(house: House, stack: AsyncExitStack, host: str) -> tuple[Imap, bytes]:
    client = await house.connect()
    stack.push_async_callback(client.close)
    with suppress(ConnectionError):  # refused at once, perhaps
        await client.send(house.proxied(host))
    return client, await client.line()


async def accepted_again(house: House, stack: AsyncExitStack, host: str) -> None:
    """A place becomes free when its connection has ended, which takes a moment."""
    async with asyncio.timeout(40):
        while not (await greeted(house, stack, host))[1].startswith(b"* OK"):
            await asyncio.sleep(0.05)


async def test_h10_per_network(strict: House, stack: AsyncExitStack) -> None:
    opened = [await greeted(strict, stack, "192.0.2.7") for _ in range(NETWORK + 1)]
    assert [line.split()[1] for _, line in opened] == [b"OK"] * NETWORK + [b"BYE"]
    assert (await greeted(strict, stack, "192.0.2.8"))[1].startswith(b"* OK")
    await opened[0][0].close()
    await accepted_again(strict, stack, "192.0.2.7")


async def test_h10_total(strict: House, stack: AsyncExitStack) -> None:
    opened = [await greeted(strict, stack, f"192.0.2.{number}") for number in range(TOTAL + 1)]
    assert [line.split()[1] for _, line in opened] == [b"OK"] * TOTAL + [b"BYE"]
    lmtp = await Wire.open(strict.ports[LMTP])
    assert (await lmtp.line()).startswith(b"421 4.3.2")
    await lmtp.close()
    http = await Wire.open(strict.ports[API])
    assert (await http.rest(40)).startswith(b"HTTP/1.1 503")
    await http.close()
    await opened[0][0].close()
    await accepted_again(strict, stack, "192.0.2.99")


async def test_h10_per_user(strict: House, stack: AsyncExitStack) -> None:
    clients = [(await greeted(strict, stack, f"192.0.2.{number}"))[0] for number in range(USER + 1)]
    for client in clients[:USER]:
        await client.login("anna")
    assert (await clients[USER].command("LOGIN anna@mail.test secret")).startswith("NO [ALERT] Too many")
    assert (await clients[USER].command("SELECT INBOX")).startswith("BAD")
    await clients[USER].login("bert")
    await clients[0].close()
    other = (await greeted(strict, stack, "192.0.2.50"))[0]
    async with asyncio.timeout(40):
        while not (await other.command("LOGIN anna@mail.test secret")).startswith("OK"):
            await asyncio.sleep(0.05)


async def test_h10_api(strict: House, stack: AsyncExitStack) -> None:
    """Idle connections count, and a full network is not all networks."""
    idle = [await Wire.open(strict.ports[API]) for _ in range(NETWORK)]
    refused = await Wire.open(strict.ports[API])
    assert (await refused.rest(40)).startswith(b"HTTP/1.1 503")
    assert (await greeted(strict, stack, "192.0.2.7"))[1].startswith(b"* OK")
    for client in (*idle, refused):
        await client.close()
    async with asyncio.timeout(40):
        while (await strict.api("GET", "/health"))[0] != 200:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("label", [IMAP, IMAPS, LMTP, API])
async def test_h10_who_vanishes_gives_the_place_back(strict: House, label: str) -> None:
    """Connections that end in a reset, before they said anything."""
    for _ in range(3 * TOTAL):
        client = socket.create_connection(("127.0.0.1", strict.ports[label]))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        await asyncio.sleep(0.001)
    async with asyncio.timeout(40):
        while strict.connections:
            await asyncio.sleep(0.02)
    async with strict.imap("anna", preamble=strict.proxied()):
        assert strict.connections == 1
