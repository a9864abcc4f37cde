"""The connection on real sockets, on both loops."""

import asyncio
import socket
import struct

import pytest

from protocols.net import connection as module
from protocols.net.connection import RECEIVE_LIMIT, Connection
from tests.support.net import client, client_context, echo, on_both_loops, serving, shared_contexts
from tests.support.waiting import until


@on_both_loops
async def test_what_is_sent_comes_back() -> None:
    async with serving(echo) as (_, port), client(port) as (reader, writer):
        assert await reader.readline() == b"hello\r\n"
        writer.write(b"x" * 1_000_000)
        assert await reader.readexactly(1_000_000) == b"x" * 1_000_000


@on_both_loops
async def test_half_closed_client_still_gets_its_answers() -> None:
    async with serving(echo) as (_, port), client(port) as (reader, writer):
        writer.write(b"a1 LOGOUT\r\n")
        writer.write_eof()
        assert await reader.read() == b"hello\r\na1 LOGOUT\r\n"


@on_both_loops
async def test_receive_times_out_and_goes_on() -> None:
    seen = []

    async def serve(connection: Connection) -> None:
        with pytest.raises(TimeoutError):
            await connection.receive(0.05)
        connection.write(b"still here\r\n")
        seen.append(await connection.receive(10))

    async with serving(serve) as (_, port), client(port) as (reader, writer):
        await reader.readline()
        writer.write(b"late")
        assert await reader.read() == b""
    assert seen == [b"late"]


@on_both_loops
async def test_cancelled_receive_loses_nothing() -> None:
    async def serve(connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        reading = loop.create_task(connection.receive(10))
        await asyncio.sleep(0)
        connection.data_received(b"one")  # arrives in the same turn of the loop in which the reader is cancelled
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        connection.write(await connection.receive(1))

    async with serving(serve) as (_, port), client(port) as (reader, _):
        assert await reader.read() == b"one"


@on_both_loops
async def test_two_receivers_are_an_error() -> None:
    async def serve(connection: Connection) -> None:
        reading = asyncio.get_running_loop().create_task(connection.receive(10))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError):
            await connection.receive(1)
        reading.cancel()
        connection.write(b"right")

    async with serving(serve) as (_, port), client(port) as (reader, _):
        assert await reader.read() == b"right"


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@on_both_loops
async def test_unread_octets_are_bounded(tls: bool) -> None:
    held = []
    total = 20_000_000

    async def serve(connection: Connection) -> None:
        await until(lambda: connection.received_octets >= RECEIVE_LIMIT)
        await asyncio.sleep(0.3)  # in which more could come
        held.append(connection.received_octets)
        got = 0
        while got < total:
            data = await connection.receive(10)
            assert 0 < len(data) <= RECEIVE_LIMIT
            got += len(data)
        connection.write(b"%d" % got)

    options = {"ssl": client_context()} if tls else {}
    async with (
        serving(serve, tls=shared_contexts(), implicit_tls=tls) as (_, port),
        client(port, **options) as (reader, writer),
    ):
        writer.write(bytes(total))
        assert await reader.read() == b"%d" % total
    assert RECEIVE_LIMIT <= held[0] <= 3 * RECEIVE_LIMIT


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@on_both_loops
async def test_slow_reader_stops_the_writer(tls: bool) -> None:
    wrote = []

    async def serve(connection: Connection) -> None:
        try:
            while True:
                connection.write(bytes(65536))
                await connection.drain(2)
        except TimeoutError:
            wrote.append(connection.written_octets)
        connection.abort()

    options = {"ssl": client_context()} if tls else {}
    async with (
        serving(serve, tls=shared_contexts(), implicit_tls=tls) as (_, port),
        client(port, limit=1024, **options),  # its reader stops at 2 KiB
    ):
        while not wrote:
            await asyncio.sleep(0.02)
    # the kernel's buffers on both sides (up to 6 MB each by net.ipv4.tcp_[rw]mem) and ours
    assert wrote[0] < 16_000_000


@on_both_loops
async def test_writer_without_drain_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WRITE_LIMIT", 1_000_000)
    done = asyncio.Event()

    async def serve(connection: Connection) -> None:
        for _ in range(1000):
            connection.write(bytes(100_000))
        assert connection.is_closing
        assert connection.written_octets < 20_000_000
        with pytest.raises(ConnectionError):
            await connection.drain(1)
        done.set()

    async with serving(serve) as (_, port), client(port):
        await asyncio.wait_for(done.wait(), 40)


def _reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@on_both_loops
async def test_client_that_vanishes_ends_reading_and_writing() -> None:
    outcome: list[object] = []

    async def serve(connection: Connection) -> None:
        outcome.append(await connection.receive(10))
        outcome.append(await connection.receive(10))
        outcome.append(connection.is_closing)
        for _ in range(100):
            connection.write(bytes(100_000))
        try:
            await connection.drain(10)
        except ConnectionError:
            outcome.append("lost")

    async with serving(serve) as (_, port), client(port) as (_, writer):
        writer.write(b"data")
        await asyncio.sleep(0.1)
        _reset(writer)
        while len(outcome) < 4:
            await asyncio.sleep(0.01)
    assert outcome == [b"data", b"", True, "lost"]


@on_both_loops
async def test_waiting_writer_learns_that_the_client_vanished() -> None:
    outcome = []

    async def serve(connection: Connection) -> None:
        connection.write(bytes(50_000_000))
        try:
            await connection.drain(30)
        except ConnectionError:
            outcome.append("lost")

    async with serving(serve) as (_, port), client(port, limit=1024) as (_, writer):
        writer.transport.pause_reading()
        await asyncio.sleep(0.2)
        _reset(writer)
        while not outcome:
            await asyncio.sleep(0.01)


@on_both_loops
async def test_last_line_arrives_though_the_client_is_still_sending() -> None:
    async def serve(connection: Connection) -> None:
        await connection.receive(10)
        connection.write(b"* BYE too long\r\n")
        connection.close()
        assert await connection.receive(1) == b""

    for _ in range(5):
        async with serving(serve) as (_, port), client(port) as (reader, writer):
            writer.write(bytes(3_000_000))
            assert await reader.read() == b"* BYE too long\r\n"


@on_both_loops
async def test_everything_written_before_close_is_sent() -> None:
    async def serve(connection: Connection) -> None:
        connection.write(bytes(5_000_000))
        connection.close()

    async with serving(serve) as (_, port), client(port) as (reader, _):
        assert len(await reader.read()) == 5_000_000


@on_both_loops
async def test_client_that_never_closes_does_not_hold_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGER", 0.2)

    async def serve(connection: Connection) -> None:
        connection.write(b"* BYE\r\n")

    async with serving(serve) as (listeners, port), client(port) as (reader, _):
        assert await reader.readline() == b"* BYE\r\n"
        assert listeners.connections == 1
        await until(lambda: not listeners.connections)


@on_both_loops
async def test_client_that_never_reads_is_cut_off_after_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGER", 0.1)
    monkeypatch.setattr(module, "FLUSH_TIMEOUT", 0.3)

    async def serve(connection: Connection) -> None:
        connection.write(bytes(50_000_000))

    async with serving(serve) as (listeners, port), client(port, limit=1024) as (_, writer):
        writer.transport.pause_reading()
        await until(lambda: listeners.connections)
        await until(lambda: not listeners.connections)


@on_both_loops
async def test_discard_received_drops_what_waits() -> None:
    async def serve(connection: Connection) -> None:
        while connection.received_octets < 10:
            await asyncio.sleep(0.01)
        connection.write(b"%d\r\n" % connection.discard_received())
        connection.write(await connection.receive(10))

    async with serving(serve) as (_, port), client(port) as (reader, writer):
        writer.write(b"0123456789")
        assert await reader.readline() == b"10\r\n"
        writer.write(b"next")
        assert await reader.read() == b"next"


@on_both_loops
async def test_writing_after_close_is_dropped() -> None:
    async def serve(connection: Connection) -> None:
        connection.write(b"last")
        connection.close()
        connection.close()
        connection.write(b"never")
        with pytest.raises(ConnectionError):
            await connection.drain(1)

    async with serving(serve) as (_, port), client(port) as (reader, _):
        assert await reader.read() == b"last"
