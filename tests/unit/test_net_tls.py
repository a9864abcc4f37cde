"""TLS on real sockets, on both loops: STARTTLS, implicit TLS, behind a proxy, certificates that change."""

import asyncio
import contextlib
import logging
import socket
import ssl
import time
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from protocols.net import connection as connection_module
from protocols.net.connection import Connection
from protocols.net.peer import Networks
from protocols.net.tls import TlsContexts, TlsError
from tests.support.net import (
    client,
    client_context,
    echo,
    make_certificate,
    on_both_loops,
    serving,
    shared_contexts,
)
from tests.support.waiting import until

LOOPBACK = Networks(["127.0.0.0/8"])
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 993\r\n"
V2 = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes([192, 0, 2, 7, 198, 51, 100, 1, 0x9C, 0x40, 0x03, 0xE1])


async def starttls_session(connection: Connection) -> None:
    """A line protocol with one command that matters; everything else is answered with what was understood."""
    connection.write(b"* OK\r\n")
    line = b""
    while data := await connection.receive(10):
        line += data
        while b"\n" in line:
            command, _, line = line.partition(b"\n")
            if command.strip() == b"STARTTLS":
                line = b""
                await connection.start_tls(b"OK begin\r\n")
                break
            connection.write(b"got " + command.strip() + (b" in TLS" if connection.tls else b" in plain") + b"\r\n")


def _upgrade_and_ask(port: int, first: bytes, pause: float = 0.0) -> bytes:
    """A blocking client: sends `first`, then, when the server says so, the handshake and a command; gives the answer.

    `pause`: seconds between the server's word and the ClientHello.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
        plain.sendall(first)
        answer = b""
        while not answer.endswith(b"OK begin\r\n"):
            answer += plain.recv(100)
        time.sleep(pause)
        with client_context().wrap_socket(plain) as secure:
            secure.sendall(b"hello\r\n")
            return secure.recv(100)


@pytest.mark.parametrize("pause", [0.0, 0.05], ids=["hello-at-once", "hello-later"])
@on_both_loops
async def test_starttls(pause: float) -> None:
    async with serving(starttls_session, tls=shared_contexts()) as (_, port):
        for _ in range(10 if not pause else 2):
            assert await asyncio.to_thread(_upgrade_and_ask, port, b"STARTTLS\r\n", pause) == b"got hello in TLS\r\n"


@pytest.mark.parametrize("behind", [b"INJECTED\r\n", b"INJECTED\r\n" * 20000, b"INJ"], ids=["line", "much", "part"])
@on_both_loops
async def test_plaintext_behind_starttls_is_discarded(behind: bytes) -> None:
    """H2: injected in the same segment (what fits in one read), it is neither executed nor part of the next command."""

    async def serve(connection: Connection) -> None:
        while connection.received_octets < len(b"STARTTLS\r\n" + behind):
            await asyncio.sleep(0.01)
        await starttls_session(connection)

    async with serving(serve, tls=shared_contexts()) as (_, port):
        answer = await asyncio.to_thread(_upgrade_and_ask, port, b"STARTTLS\r\n" + behind)
        assert answer == b"got hello in TLS\r\n"


@pytest.mark.parametrize("behind", [b"INJECTED\r\n", b"INJ", bytes(600_000)], ids=["line", "part", "more-than-is-read"])
@on_both_loops
async def test_unread_plaintext_is_discarded(behind: bytes) -> None:
    """H2: it came in a segment of its own, and the session has not received it when it starts TLS."""

    async def serve(connection: Connection) -> None:
        await connection.receive(10)
        connection.write(b"* OK more?\r\n")
        while connection.received_octets < min(10 + len(behind), 300_000):
            await asyncio.sleep(0.01)
        await connection.start_tls(b"OK begin\r\n")
        connection.write(b"got " + await connection.receive(10))

    def attack(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
            plain.sendall(b"STARTTLS\r\n")
            answer = plain.recv(100)
            plain.sendall(behind)
            while not answer.endswith(b"OK begin\r\n"):
                answer += plain.recv(100)
            with client_context().wrap_socket(plain) as secure:
                secure.sendall(b"hello\r\n")
                return secure.recv(100)

    async with serving(serve, tls=shared_contexts()) as (_, port):
        if len(behind) < 300_000:
            assert await asyncio.to_thread(attack, port) == b"got hello\r\n"
        else:  # what the kernel still held goes into the handshake, and spoils it
            with pytest.raises((ssl.SSLError, ConnectionError, TimeoutError)):
                await asyncio.to_thread(attack, port)


@on_both_loops
async def test_end_is_announced_to_the_client() -> None:
    """A client that is told nothing cannot tell the end from an attacker's cut (RFC 8446 §6.1)."""

    async def serve(connection: Connection) -> None:
        connection.write(b"* BYE\r\n")

    def read_all(port: int) -> bytes:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
            client_context().wrap_socket(plain, suppress_ragged_eofs=False) as secure,
        ):
            return secure.recv(100) + secure.recv(100)

    async with serving(serve, tls=shared_contexts(), implicit_tls=True) as (_, port):
        assert await asyncio.to_thread(read_all, port) == b"* BYE\r\n"


@on_both_loops
async def test_plaintext_after_the_answer_spoils_the_handshake() -> None:
    lost = []

    async def serve(connection: Connection) -> None:
        await connection.receive(10)
        try:
            await connection.start_tls(b"OK\r\n")
        except ssl.SSLError as error:
            lost.append(error)
            assert connection.is_closing
            assert await connection.receive(1) == b""

    async with serving(serve, tls=shared_contexts()) as (_, port), client(port) as (reader, writer):
        writer.write(b"STARTTLS\r\n")
        await reader.readline()
        writer.write(b"a1 LOGIN user password\r\n")
        await reader.read()
        await until(lambda: lost)


@on_both_loops
async def test_client_that_leaves_in_the_handshake() -> None:
    lost = []

    async def serve(connection: Connection) -> None:
        await connection.receive(10)
        try:
            await connection.start_tls(b"OK\r\n")
        except OSError as error:
            lost.append(error)

    async with serving(serve, tls=shared_contexts()) as (listeners, port):
        async with client(port) as (reader, writer):
            writer.write(b"STARTTLS\r\n")
            await reader.readline()
        await until(lambda: lost and not listeners.connections)


@on_both_loops
async def test_handshake_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "HANDSHAKE_TIMEOUT", 0.3)
    async with (
        serving(echo, tls=shared_contexts(), implicit_tls=True) as (_, port),
        client(port) as (reader, _),
    ):
        started = time.monotonic()
        await _closed(reader)  # of itself it stays open
        assert time.monotonic() - started > 0.2


async def _closed(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        await reader.read()


@on_both_loops
async def test_start_tls_needs_a_certificate_and_comes_once() -> None:
    async def serve(connection: Connection) -> None:
        assert not connection.tls_available
        with pytest.raises(RuntimeError):
            await connection.start_tls()
        connection.write(b"right")

    async with serving(serve) as (_, port), client(port) as (reader, _):
        assert await reader.read() == b"right"
    async with (
        serving(serve, tls=shared_contexts(), implicit_tls=True) as (_, port),
        client(port, ssl=client_context()) as (reader, _),
    ):
        assert await reader.read() == b"right"


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize("cut", ["one-segment", "apart", "tail-with-hello", "octets"])
@on_both_loops
async def test_implicit_tls_behind_a_proxy(header: bytes, cut: str) -> None:
    async def serve(connection: Connection) -> None:
        connection.write(f"{connection.peer} {connection.tls}\r\n".encode())
        while data := await connection.receive(10):
            connection.write(data)

    async with (
        serving(serve, tls=shared_contexts(), implicit_tls=True, proxy_peers=LOOPBACK) as (_, port),
        a_proxy(port, header, cut) as proxy_port,
        client(proxy_port, ssl=client_context()) as (reader, writer),
    ):
        assert await reader.readline() == b"192.0.2.7:40000 True\r\n"
        writer.write(b"ping\r\n")
        assert await reader.readline() == b"ping\r\n"


@contextlib.asynccontextmanager
async def a_proxy(port: int, header: bytes, cut: str) -> AsyncIterator[int]:
    """A TCP proxy that sends `header` before what its client says; gives its port."""

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
        first = await reader.read(65536)
        if cut == "octets":
            for at in range(len(header)):
                up_writer.write(header[at : at + 1])
                await asyncio.sleep(0.002)
        elif cut == "apart":
            up_writer.write(header)
            await asyncio.sleep(0.05)
        elif cut == "tail-with-hello":
            up_writer.write(header[:20])
            await asyncio.sleep(0.05)
            first = header[20:] + first
        else:
            first = header + first
        up_writer.write(first)
        await asyncio.gather(pipe(reader, up_writer), pipe(up_reader, writer))

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _common_name(port: int, name: str | None = None) -> str:
    """The name in the certificate that the server presents."""
    async with client(port, ssl=client_context(), server_hostname=name or "mail.example") as (reader, writer):
        await reader.readline()
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return str(x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


@on_both_loops
async def test_reload_presents_the_new_certificate_and_keeps_connections(tmp_path: Path) -> None:
    files = make_certificate(tmp_path, "old.example")
    contexts = TlsContexts(files)
    async with (
        serving(echo, tls=contexts, implicit_tls=True) as (_, port),
        client(port, ssl=client_context()) as (reader, writer),
    ):
        assert await _common_name(port) == "old.example"
        new = make_certificate(tmp_path, "new.example")
        files.certificate.write_bytes(new.certificate.read_bytes())
        files.key.write_bytes(new.key.read_bytes())
        assert await _common_name(port) == "old.example"
        assert contexts.reload()
        assert await _common_name(port) == "new.example"
        await reader.readline()
        writer.write(b"still there\r\n")
        assert await reader.readline() == b"still there\r\n"


@pytest.mark.parametrize("broken", ["garbage", "missing", "other-key"])
def test_broken_files_keep_the_old_certificate(broken: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = make_certificate(tmp_path, "a.example")
    contexts = TlsContexts(files)
    before = contexts.server
    if broken == "garbage":
        files.certificate.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    elif broken == "missing":
        files.key.unlink()
    else:
        files.key.write_bytes(make_certificate(tmp_path, "b.example").key.read_bytes())
    with caplog.at_level(logging.ERROR, "duckmail.net.tls"):
        assert not contexts.reload()
    assert contexts.server is before
    assert len(caplog.records) == 1
    with pytest.raises(TlsError, match=r"a\.example"):
        TlsContexts(files)


def test_encrypted_key_is_an_error_and_no_question(tmp_path: Path) -> None:
    files = make_certificate(tmp_path, "a.example")
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(TlsError):
        TlsContexts(files)


@on_both_loops
async def test_certificate_is_chosen_by_server_name(tmp_path: Path) -> None:
    names = {name: make_certificate(tmp_path, name) for name in ("one.example", "default.example")}
    star = make_certificate(tmp_path, "wild.example")
    contexts = TlsContexts(names["default.example"], {"One.example": names["one.example"], "*.wild.example": star})
    async with serving(echo, tls=contexts, implicit_tls=True) as (_, port):
        assert await _common_name(port, "ONE.example") == "one.example"
        assert await _common_name(port, "a.wild.example") == "wild.example"
        assert await _common_name(port, "a.b.wild.example") == "default.example"
        assert await _common_name(port, "unknown.example") == "default.example"


@on_both_loops
async def test_old_tls_versions_are_refused() -> None:
    old = client_context()
    old.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = ssl.TLSVersion.TLSv1_1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    assert shared_contexts().server.minimum_version is ssl.TLSVersion.TLSv1_2
    new = client_context()
    new.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serving(echo, tls=shared_contexts(), implicit_tls=True) as (_, port):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            async with client(port, ssl=old):
                pass
        async with client(port, ssl=new) as (reader, _):
            assert await reader.readline() == b"hello\r\n"
