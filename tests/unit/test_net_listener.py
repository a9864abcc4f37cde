"""Accepting, limits, PROXY headers and draining on real sockets, on both loops."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from duckmail.errors import LimitReached
from protocols.net import listener as module
from protocols.net.connection import Connection
from protocols.net.limits import Limits
from protocols.net.listener import Listeners, Service
from protocols.net.peer import Networks
from protocols.net.sockets import ListenError, ListeningSocket, listen
from tests.support.net import client, client_context, echo, on_both_loops, serving, shared_contexts
from tests.support.waiting import PATIENCE

LOOPBACK = Networks(["127.0.0.0/8"])
FULL = b"* BYE full\r\n"


async def say_peer(connection: Connection) -> None:
    """Tells the client who it is, then echoes."""
    connection.write(f"{connection.peer}\r\n".encode())
    while data := await connection.receive(30):
        connection.write(data)


def _proxy_line(address: str) -> bytes:
    return f"PROXY TCP{6 if ':' in address else 4} {address} {address} 1000 143\r\n".encode()


# Limits


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@on_both_loops
async def test_total_limit_tells_and_closes(tls: bool) -> None:
    options = {"ssl": client_context()} if tls else {}
    async with serving(echo, limits=Limits(2), tls=shared_contexts(), implicit_tls=tls) as (_, port):
        async with client(port, **options) as (one, _), client(port, **options) as (two, _):
            assert await one.readline() == await two.readline() == b"hello\r\n"
            for _ in range(3):
                async with client(port, **options) as (three, _):
                    assert await three.read() == FULL
        async with asyncio.timeout(PATIENCE):
            while True:  # until the places of those who left are free again
                async with client(port, **options) as (four, _):
                    if await four.readline() == b"hello\r\n":
                        break


@on_both_loops
async def test_network_limit_counts_the_proxied_address() -> None:
    limits = Limits(0, per_network=1)
    async with serving(say_peer, limits=limits, proxy_peers=LOOPBACK) as (_, port):

        async def first_line(address: str, keep: list[asyncio.StreamWriter]) -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(_proxy_line(address))
            keep.append(writer)
            return await reader.readline()

        keep: list[asyncio.StreamWriter] = []
        assert await first_line("192.0.2.1", keep) == b"192.0.2.1:1000\r\n"
        assert await first_line("192.0.2.1", keep) == FULL
        assert await first_line("192.0.2.2", keep) == b"192.0.2.2:1000\r\n"
        assert await first_line("2001:db8:0:1::1", keep) == b"[2001:db8:0:1::1]:1000\r\n"
        assert await first_line("2001:db8:0:1:ffff::1", keep) == FULL
        assert await first_line("2001:db8:0:2::1", keep) == b"[2001:db8:0:2::1]:1000\r\n"
        for writer in keep:
            writer.close()
        async with asyncio.timeout(PATIENCE):
            while await first_line("192.0.2.1", keep) != b"192.0.2.1:1000\r\n":
                keep[-1].close()
        keep[-1].close()


@on_both_loops
async def test_refusals_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that do not take their refusal hold at most so many connections; the others are closed without a word."""
    monkeypatch.setattr(module, "_REFUSALS", 2)
    async with serving(echo, limits=Limits(1)) as (_, port), client(port) as (one, _):
        await one.readline()
        refused = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
        answers = sorted([await _all(reader) for reader, _ in refused])
        assert answers == [b"", b"", b"", FULL, FULL]
        for _, writer in refused:
            writer.close()


async def _all(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionError:
        return b""


async def test_user_limit_counts_sessions_and_forgets_the_rest() -> None:
    limits = Limits(0, per_user=2)
    with await limits.user("u1"), await limits.user("u2"):
        with await limits.user("u1"), pytest.raises(LimitReached):
            await limits.user("u1")
        with await limits.user("u1"):
            pass
    assert not limits._counts


# PROXY


@on_both_loops
async def test_header_from_others_is_ordinary_data() -> None:
    line = _proxy_line("192.0.2.1")
    async with serving(say_peer, proxy_peers=Networks(["10.0.0.0/8"])) as (_, port), client(port) as (reader, writer):
        writer.write(line)
        assert (await reader.readline()).startswith(b"127.0.0.1:")
        assert await reader.readline() == line


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"a1 NOOP\r\n", id="no-header"),
        pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 99999\r\n", id="bad-port"),
        pytest.param(b"PROXY " + b"x" * 200, id="endless-line"),
        pytest.param(b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff", id="endless-v2"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00", id="client-hello"),
    ],
)
@on_both_loops
async def test_bad_header_drops_the_connection(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(say_peer, proxy_peers=LOOPBACK) as (_, port), client(port) as (reader, writer):
        writer.write(sent)
        assert await _all(reader) == b""
    assert [record for record in caplog.records if record.getMessage() == "dropped"]


@on_both_loops
async def test_header_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROXY_TIMEOUT", 0.2)
    async with serving(say_peer, proxy_peers=LOOPBACK) as (_, port), client(port) as (reader, writer):
        writer.write(b"PROXY TCP4 ")
        started = time.monotonic()
        assert await _all(reader) == b""  # of itself it stays open
        assert time.monotonic() - started > 0.1


@on_both_loops
async def test_health_check_keeps_the_proxys_address() -> None:
    async with serving(say_peer, proxy_peers=LOOPBACK) as (_, port), client(port) as (reader, writer):
        writer.write(b"PROXY UNKNOWN\r\nrest\r\n")
        assert (await reader.readline()).startswith(b"127.0.0.1:")
        assert await reader.readline() == b"rest\r\n"


# One connection never harms another


@on_both_loops
async def test_failing_session_ends_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def serve(connection: Connection) -> None:
        connection.write(b"hi\r\n")
        if await connection.receive(10) == b"fail":
            raise KeyError("secret")
        connection.write(b"fine\r\n")

    async with serving(serve) as (_, port), client(port) as (one, one_writer), client(port) as (two, two_writer):
        await one.readline()
        await two.readline()
        one_writer.write(b"fail")
        assert await one.read() == b""
        two_writer.write(b"ok")
        assert await two.read() == b"fine\r\n"
        async with client(port) as (three, _):
            assert await three.readline() == b"hi\r\n"
    assert [record for record in caplog.records if record.getMessage() == "session failed"]


def test_accepting_survives_running_out_of_files(tmp_path: Path) -> None:
    """In a process of its own, whose limit of open files is lowered while it listens."""
    script = tmp_path / "short.py"
    script.write_text(_SHORT_OF_FILES)
    for loop in ("asyncio", "uvloop"):
        done = subprocess.run(
            [sys.executable, str(script)],
            env={**os.environ, "DUCKMAIL_LOOP": loop, "PYTHONPATH": os.getcwd()},
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert done.stdout.split() == [b"served", b"10"], done.stderr
        assert done.stderr.count(b"accepting connections fails") == 1, done.stderr


_SHORT_OF_FILES = """
import asyncio, os, resource, socket, sys
from duckmail.runtime import log
from duckmail.runtime.loop import run
from tests.support.net import echo, serving

async def main():
    async with serving(echo) as (listeners, port):
        clients = [socket.socket() for _ in range(10)]
        for client in clients:
            client.setblocking(False)
        await asyncio.sleep(0)
        top = max(int(name) for name in os.listdir("/proc/self/fd"))
        before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (top + 1, most))
        for client in clients:
            try:
                client.connect(("127.0.0.1", port))
            except BlockingIOError:
                pass
        await asyncio.sleep(0.5)
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))
        loop = asyncio.get_running_loop()
        got = [await asyncio.wait_for(loop.sock_recv(client, 100), 10) for client in clients]
        print("served", got.count(b"hello\\r\\n"))
        for client in clients:
            client.close()

log.setup("info", sys.stderr)
run(main())
"""


# Draining


@on_both_loops
async def test_drain_says_goodbye_and_waits() -> None:
    async def serve(connection: Connection) -> None:
        leaving = asyncio.Event()
        connection.on_drain = leaving.set
        connection.write(b"hello\r\n")
        await leaving.wait()
        await asyncio.sleep(0.2)  # what is being committed
        connection.write(b"* BYE shutdown\r\n")

    listeners = Listeners(Limits(0))
    [address] = listeners.start(Service("test", serve, FULL), ["127.0.0.1:0"])
    port = int(address.rpartition(":")[2])
    async with client(port) as (reader, _):
        await reader.readline()
        started = time.monotonic()
        draining = asyncio.get_running_loop().create_task(listeners.drain(600))
        assert await reader.read() == b"* BYE shutdown\r\n"
    await asyncio.wait_for(draining, 60)
    assert time.monotonic() - started >= 0.2
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


@on_both_loops
async def test_drain_aborts_what_is_left() -> None:
    cancelled = []

    async def serve(connection: Connection) -> None:
        connection.write(b"hello\r\n")
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(connection.is_closing)
            raise

    listeners = Listeners(Limits(0))
    [address] = listeners.start(Service("test", serve, FULL), ["127.0.0.1:0"])
    async with client(int(address.rpartition(":")[2])) as (reader, _):
        await reader.readline()
        started = time.monotonic()
        await listeners.drain(0.3)
        assert time.monotonic() - started >= 0.3
        assert await _all(reader) == b""
    assert cancelled == [True]
    assert listeners.connections == 0


@on_both_loops
async def test_session_that_starts_while_draining_is_told_at_once() -> None:
    told = []

    begun, go = asyncio.Event(), asyncio.Event()

    async def serve(connection: Connection) -> None:
        begun.set()
        await go.wait()
        connection.on_drain = lambda: told.append(True)

    async with serving(serve) as (listeners, port), client(port):
        await begun.wait()
        draining = asyncio.get_running_loop().create_task(listeners.drain(60))
        await asyncio.sleep(0.05)
        go.set()
        await draining
    assert told == [True]


@on_both_loops
async def test_failing_drain_callback_harms_nobody() -> None:
    def fail() -> None:
        raise KeyError

    async def serve(connection: Connection) -> None:
        connection.on_drain = fail if await connection.receive(10) == b"fail" else connection.close
        connection.write(b"ready\r\n")
        await connection.receive(600)

    async with serving(serve) as (listeners, port), client(port) as (one, w1), client(port) as (two, w2):
        w1.write(b"fail")
        w2.write(b"close")
        assert await one.readline() == await two.readline() == b"ready\r\n"
        draining = asyncio.get_running_loop().create_task(listeners.drain(600))
        assert await _all(two) == b""
        await draining


# Addresses


async def test_port_in_use_is_one_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        async with Listeners(Limits(0)) as listeners:
            with pytest.raises(ListenError) as caught:
                listeners.start(Service("test", echo, FULL), ["127.0.0.1:0", f"127.0.0.1:{port}"])
            assert str(caught.value) == f"cannot listen on 127.0.0.1:{port}: the address is in use by another program"
            assert not listeners._sockets  # the first one was given back


@on_both_loops
async def test_one_socket_serves_several_workers() -> None:
    [opened] = listen("127.0.0.1:0")
    async with Listeners(Limits(0)) as one, Listeners(Limits(0)) as two:
        address = one.serve(Service("test", echo, FULL), opened)
        assert two.serve(Service("test", echo, FULL), ListeningSocket(opened.sock.dup())) == address
        await one.drain(1)
        async with client(int(address.rpartition(":")[2])) as (reader, _):
            assert await reader.readline()


@on_both_loops
async def test_unix_socket_and_ipv6(tmp_path: Path) -> None:
    path = tmp_path / "test.sock"
    async with Listeners(Limits(0)) as listeners:
        unix, six = listeners.start(Service("test", say_peer, FULL), [f"unix:{path},mode=0600", "[::1]:0"])
        assert unix == f"unix:{path}"
        assert path.stat().st_mode & 0o777 == 0o600
        reader, writer = await asyncio.open_unix_connection(str(path))
        assert await reader.readline() == b"unix:\r\n"
        writer.close()
        reader, writer = await asyncio.open_connection("::1", int(six.rpartition(":")[2]))
        assert (await reader.readline()).startswith(b"[::1]:")
        writer.close()
    assert not path.exists()


def test_implicit_tls_without_certificate_is_refused_at_start() -> None:
    with pytest.raises(ValueError, match="certificate"):
        Service("imaps", echo, FULL, implicit_tls=True)


@on_both_loops
async def test_one_line_per_connection_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "duckmail.net"):
        async with serving(echo) as (_, port), client(port) as (reader, writer):
            await reader.readline()
            writer.write(b"secret\r\n")
            await reader.readline()
        [ended] = [record.fields for record in caplog.records if record.getMessage() == "connection ended"]
    assert {"service": "test", "peer": "127.0.0.1", "received": 8, "sent": 15, "tls": False}.items() <= ended.items()
    assert "secret" not in str(ended)
