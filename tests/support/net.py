"""For tests on real sockets: both event loops, certificates, a client that speaks TLS or plaintext."""

import asyncio
import contextlib
import datetime
import functools
import inspect
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from protocols.net.connection import Connection
from protocols.net.limits import Limits
from protocols.net.listener import Listeners, Service
from protocols.net.tls import CertificateFiles, TlsContexts


def _uvloop() -> Callable[[], asyncio.AbstractEventLoop]:
    return pytest.importorskip("uvloop").new_event_loop


def on_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test twice, on a fresh asyncio loop and a fresh uvloop, each in a thread of its own."""

    @functools.wraps(test)
    def run(*args: Any, loop: str, **kwargs: Any) -> None:
        factory = _uvloop() if loop == "uvloop" else None

        def in_thread() -> None:
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(asyncio.wait_for(test(*args, **kwargs), 60))

        with ThreadPoolExecutor(1) as thread:
            thread.submit(in_thread).result()

    signature = inspect.signature(test)
    extra = inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), extra])  # type: ignore[attr-defined]
    return pytest.mark.parametrize("loop", ["asyncio", "uvloop"])(run)


def make_certificate(folder: Path, name: str) -> CertificateFiles:
    """A self-signed certificate for `name`, good for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    files = CertificateFiles(folder / f"{name}.pem", folder / f"{name}.key")
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


@functools.lru_cache(maxsize=1)
def shared_contexts() -> TlsContexts:
    """Contexts with a certificate for `mail.example`, made once."""
    with tempfile.TemporaryDirectory() as folder:
        return TlsContexts(make_certificate(Path(folder), "mail.example"))


def client_context() -> ssl.SSLContext:
    """Trusts anybody: what is tested is the server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@contextlib.asynccontextmanager
async def serving(
    serve: Callable[[Connection], Awaitable[None]], *, limits: Limits | None = None, **service: Any
) -> AsyncIterator[tuple[Listeners, int]]:
    """A listener on a free loopback port; gives (listeners, port)."""
    async with Listeners(limits or Limits(0)) as listeners:
        given = {"refusal": b"* BYE full\r\n", **service}
        [address] = listeners.start(Service("test", serve, **given), ["127.0.0.1:0"])
        yield listeners, int(address.rpartition(":")[2])


@contextlib.asynccontextmanager
async def client(port: int, **options: Any) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to `port`, closed at the end whatever became of it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **options)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def echo(connection: Connection) -> None:
    """A session that greets, and sends back what it gets until the end."""
    connection.write(b"hello\r\n")
    while data := await connection.receive(30):
        connection.write(data)
        await connection.drain(30)
