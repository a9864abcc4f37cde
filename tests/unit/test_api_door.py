"""The way into the API while a connection waits for its place: nothing is lost, nothing stays behind."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from api.door import REFUSAL, Door
from duckmail.errors import LimitReached
from duckmail.runtime.tasks import Tasks
from protocols.net.tls import TlsContexts
from tests.support.net import client, client_context, make_certificate, on_both_loops
from tests.support.waiting import until


@dataclass
class Rooms(asyncio.Protocol):
    """What is behind the door: sends back what it gets. `free`: places are given; `none`: there are no more."""

    free: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: Tasks = field(default_factory=lambda: Tasks("door"))
    none: bool = False
    doors: list[Door] = field(default_factory=list)
    asked: int = 0
    taken: int = 0
    made: int = 0

    async def admit(self, _: object) -> ExitStack:
        self.asked += 1
        await self.free.wait()
        if self.none:
            raise LimitReached("Too many connections")
        self.taken += 1
        place = ExitStack()
        place.callback(self.leave)
        return place

    def leave(self) -> None:
        self.taken -= 1

    def door(self) -> Door:
        self.doors.append(Door(self.inside, self.admit, self.tasks))
        return self.doors[-1]

    def inside(self) -> asyncio.Protocol:
        self.made += 1
        return _Echo()


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


@asynccontextmanager
async def door(folder: Path, tls: bool) -> AsyncIterator[tuple[Rooms, int, dict[str, ssl.SSLContext]]]:
    """What is behind it, its port, and how clients connect."""
    rooms = Rooms()
    context = TlsContexts(make_certificate(folder, "mail.example")).switching() if tls else None
    server = await asyncio.get_running_loop().create_server(rooms.door, "127.0.0.1", 0, ssl=context)
    try:
        yield rooms, server.sockets[0].getsockname()[1], {"ssl": client_context()} if tls else {}
    finally:
        server.close()
        await rooms.tasks.aclose()


both = pytest.mark.parametrize("tls", [pytest.param(False, id="plain"), pytest.param(True, id="tls")])


@both
@on_both_loops
async def test_what_comes_early_waits(tls: bool, tmp_path: Path) -> None:
    async with door(tmp_path, tls) as (rooms, port, options), client(port, **options) as (reader, writer):
        await until(lambda: rooms.asked)
        early = bytes(range(256)) * 8000  # 2 MB: more than is read at once
        writer.write(early)
        await until(lambda: rooms.doors[0]._early)
        rooms.free.set()
        assert await reader.readexactly(len(early)) == early
        writer.write(b"late")
        assert await reader.readexactly(4) == b"late"
        assert (rooms.made, rooms.taken) == (1, 1)
        writer.close()
        await until(lambda: not rooms.taken)


@both
@on_both_loops
async def test_who_leaves_early_keeps_no_place(tls: bool, tmp_path: Path) -> None:
    async with door(tmp_path, tls) as (rooms, port, options):
        for abort in (False, True):
            async with client(port, **options) as (_, writer):
                await until(lambda: len(rooms.tasks))
                writer.write(b"x" * 100_000)
                if abort:
                    writer.transport.abort()
                else:
                    writer.close()
                rooms.free.set()
            await until(lambda: not rooms.taken and not len(rooms.tasks))
            rooms.free.clear()
        assert rooms.asked == 2


@both
@on_both_loops
async def test_no_place(tls: bool, tmp_path: Path) -> None:
    async with door(tmp_path, tls) as (rooms, port, options), client(port, **options) as (reader, _):
        rooms.none = True
        rooms.free.set()
        assert await reader.read() == REFUSAL
        assert (rooms.made, rooms.taken, len(rooms.tasks)) == (0, 0, 0)


@both
@pytest.mark.parametrize("none", [pytest.param(False, id="a-place"), pytest.param(True, id="no-place")])
@on_both_loops
async def test_whose_turn_comes_too_late(
    tls: bool, none: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with door(tmp_path, tls) as (rooms, port, options):
        async with client(port, **options) as (_, writer):
            await until(lambda: rooms.asked)
            writer.transport.abort()
        await until(lambda: rooms.doors[0]._lost)
        rooms.none = none
        rooms.free.set()
        await until(lambda: not len(rooms.tasks))
        assert (rooms.made, rooms.taken) == (0, 0)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@both
@on_both_loops
async def test_the_end_comes_while_somebody_waits(tls: bool, tmp_path: Path) -> None:
    async with door(tmp_path, tls) as (rooms, port, options):
        async with client(port, **options) as (reader, _):
            await until(lambda: rooms.asked)
            await rooms.tasks.aclose()
            with suppress(ConnectionError):
                assert await reader.read() == b""
        with suppress(ConnectionError):  # and nobody comes in any more
            async with client(port, **options) as (reader, _):
                assert await reader.read() == b""
        assert (rooms.asked, rooms.made, rooms.taken) == (1, 0, 0)
