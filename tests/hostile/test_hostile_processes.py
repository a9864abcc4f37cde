"""H10 of several processes: connections of a network and sessions of a user are counted in all, at every listener."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from duckmail.app.listeners import API, API_TLS, IMAP, IMAPS, LMTP, MX, POP3, SUBMISSION
from protocols.net import connection as module
from tests.support.databases import Databases
from tests.support.hostile import HOST, PASSWORD, House, Wire, running
from tests.support.net import client_context
from tests.support.waiting import redis_has_time

NETWORK, USER = 3, 2
RELAY = "127.0.0.2"
REQUEST = b"GET /health HTTP/1.1\r\nHost: mail.test\r\nX-Access-Token: a-static-token\r\n\r\n"
SECTIONS: dict[str, dict[str, object]] = {
    "imap": {"login_timeout": 600.0},
    "pop3": {"login_timeout": 600.0},
    "lmtp": {"peers": (f"{RELAY}/32",)},
    "mx": {"listen": (f"{HOST}:0",)},
    "api": {"listen_tls": (f"{HOST}:0",)},
    "limits": {"per_network": NETWORK, "per_user": USER},
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
            running(mongo_uri, redis_url, folders[0], sections, ("anna", "bert", "carl")) as one,
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


@dataclass(frozen=True, slots=True)
class Login:
    """At a listener, from the address of a relay, which has no limit. `says`: {} stands for the user's address, <> for
    what AUTH PLAIN says of it. `welcome`, `refusal`: the answer to the last line."""

    label: str
    says: tuple[str, ...]
    welcome: bytes
    refusal: bytes

    async def sign_in(self, house: House, user: str, stack: AsyncExitStack) -> tuple[Wire, bytes]:
        """A connection that stays open, and the answer."""
        wire = await Wire.open(house.ports[self.label], local_addr=(RELAY, 0))
        stack.push_async_callback(wire.close)
        said = await wire.line()
        plain = b64encode(f"\0{user}\0{PASSWORD}".encode()).decode()
        for line in self.says:
            await wire.send(line.replace("{}", user).replace("<>", plain).encode() + b"\r\n")
            said = await wire.line()
            while said.startswith(b"250-"):
                said = await wire.line()
        return wire, said


BY_IMAP = Login(IMAP, (f"a LOGIN {{}} {PASSWORD}",), b"a OK", b"a NO [ALERT] Too many connections of this account")
BY_POP3 = Login(POP3, ("USER {}", f"PASS {PASSWORD}"), b"+OK", b"-ERR [SYS/TEMP] Too many connections of this account")
BY_SUBMISSION = Login(
    SUBMISSION, ("EHLO client.test", "AUTH PLAIN <>"), b"235 ", b"454 4.7.0 Too many connections of this account"
)


@pytest.mark.parametrize(
    ("login", "user"),
    [
        pytest.param(BY_IMAP, "anna@mail.test", id="imap"),
        pytest.param(BY_POP3, "bert@mail.test", id="pop3"),
        pytest.param(BY_SUBMISSION, "carl@mail.test", id="submission"),
    ],
)
async def test_h10_a_user_has_its_sessions_in_all_processes(processes: Houses, login: Login, user: str) -> None:
    one, other = processes
    async with AsyncExitStack() as stack:
        first, second = await BY_SUBMISSION.sign_in(one, user, stack), await BY_IMAP.sign_in(other, user, stack)
        assert [first[1][:4], second[1][:4]] == [b"235 ", b"a OK"]
        for house in processes:
            said = (await login.sign_in(house, user, stack))[1]
            assert said[: len(login.refusal)] == login.refusal
        await second[0].close()
        async with asyncio.timeout(60):
            while not (await login.sign_in(one, user, stack))[1].startswith(login.welcome):
                await asyncio.sleep(0.02)
        assert (await login.sign_in(other, user, stack))[1].startswith(login.refusal)
