"""H10 of several processes: the connections of a network are counted in all of them, at every listener."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from duckmail.app.listeners import API, API_TLS, IMAP, IMAPS, LMTP, MX, POP3, SUBMISSION
from protocols.net import connection as module
from tests.support.databases import Databases
from tests.support.hostile import HOST, House, Wire, running
from tests.support.net import client_context
from tests.support.waiting import redis_has_time

NETWORK = 3
RELAY = "127.0.0.2"
REQUEST = b"GET /health HTTP/1.1\r\nHost: mail.test\r\nX-Access-Token: a-static-token\r\n\r\n"
SECTIONS: dict[str, dict[str, object]] = {
    "imap": {"login_timeout": 600.0},
    "pop3": {"login_timeout": 600.0},
    "lmtp": {"peers": (f"{RELAY}/32",)},
    "mx": {"listen": (f"{HOST}:0",)},
    "api": {"listen_tls": (f"{HOST}:0",)},
    "limits": {"per_network": NETWORK},
}

Houses = tuple[House, House]


@dataclass(frozen=True, slots=True)
class Door:
    """A listener, from the side of clients at `host`. `says`: what they begin with; `welcome`, `refusal`: what they are
    told first. LMTP's strangers are no relays, but their connections count."""

    label: str
    host: str
    welcome: bytes
    refusal: bytes
    says: bytes = b""
    tls: bool = False

    async def knock(self, house: House, stack: AsyncExitStack, host: str = "") -> tuple[Wire, bytes]:
        """A connection that stays open, and the first line on it."""
        options = {"ssl": client_context()} if self.tls else {}
        wire = await Wire.open(house.ports[self.label], local_addr=(host or self.host, 0), **options)
        stack.push_async_callback(wire.close)
        await wire.send(self.says)
        return wire, await wire.line()

    async def refuses(self, house: House, stack: AsyncExitStack) -> bool:
        return (await self.knock(house, stack))[1].startswith(self.refusal)


@pytest.fixture(scope="module")
async def processes(
    mongo_uri: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory, databases: Databases
) -> AsyncIterator[Houses]:
    name = databases.take("hostile_processes")
    sections = {**SECTIONS, "mongo": {"database": name}, "redis": {"prefix": ""}}
    folders = [tmp_path_factory.mktemp(each) for each in ("one", "other")]
    with redis_has_time():
        async with (
            running(mongo_uri, redis_url, folders[0], sections) as one,
            running(mongo_uri, redis_url, folders[1], sections) as other,
        ):
            yield one, other
            assert one.errors == other.errors == []
    databases.give_back(name)


@pytest.mark.parametrize(
    "door",
    [
        pytest.param(Door(IMAP, "127.0.1.1", b"* OK", b"* BYE [UNAVAILABLE] Too many"), id="imap"),
        pytest.param(Door(IMAPS, "127.0.1.2", b"* OK", b"* BYE [UNAVAILABLE] Too many", tls=True), id="imaps"),
        pytest.param(Door(POP3, "127.0.1.3", b"+OK", b"-ERR [SYS/TEMP] Too many"), id="pop3"),
        pytest.param(Door(SUBMISSION, "127.0.1.4", b"220 ", b"421 4.3.2 Too many"), id="submission"),
        pytest.param(Door(LMTP, "127.0.1.5", b"421 4.7.1", b"421 4.3.2 Too many"), id="lmtp"),
        pytest.param(Door(MX, "127.0.1.6", b"220 ", b"421 4.3.2 Too many"), id="mx"),
        pytest.param(Door(API, "127.0.1.7", b"HTTP/1.1 200", b"HTTP/1.1 503", REQUEST), id="api"),
        pytest.param(Door(API_TLS, "127.0.1.8", b"HTTP/1.1 200", b"HTTP/1.1 503", REQUEST, tls=True), id="api-tls"),
    ],
)
async def test_h10_a_network_has_its_places_in_all_processes(
    processes: Houses, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINGER", 600.0)  # LMTP's strangers stay until they leave
    one, other = processes
    async with AsyncExitStack() as stack:
        opened = [await door.knock(house, stack) for house in (one, other, one)]
        assert [line[: len(door.welcome)] for _, line in opened] == [door.welcome] * NETWORK
        for house in (one, other, one, other):  # who is refused takes nobody's place
            assert await door.refuses(house, stack)
        for house in processes:
            assert (await door.knock(house, stack, "127.0.2.1"))[1].startswith(door.welcome)
        await opened[1][0].close()
        async with asyncio.timeout(60):
            while await door.refuses(one, stack):
                await asyncio.sleep(0.02)
        assert await door.refuses(other, stack)


async def test_h10_a_relay_has_no_limit(processes: Houses) -> None:
    door = Door(LMTP, RELAY, b"220 ", b"421")
    async with AsyncExitStack() as stack:
        for house in (*processes, *processes, *processes):
            assert (await door.knock(house, stack))[1].startswith(door.welcome)
