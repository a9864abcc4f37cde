"""A lean IMAP client: raw octets in and out, no parsing beyond finding the end of an answer.

The end is the line that begins with the command's tag, looked for only at the end of what has arrived: a tag holds
random characters, so no message can fake it, and megabytes of literals cost the load generator next to nothing.
"""

import asyncio
import secrets
import ssl
import time
from collections.abc import Callable, Sequence
from typing import cast

TIMEOUT = 300.0  # the slowest command: a search through all texts of 100,000 messages
_TAIL = 1024  # octets at the end of an answer that hold its last line


class ImapError(Exception):
    """An answer that was not OK, or none."""


class ImapClient(asyncio.Protocol):
    """`await connect(...)`, then `command` as often as wanted."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._chunks: list[bytes] = []
        self._tail = b""
        self._end = b""
        self._waiter: asyncio.Future[None] | None = None
        self._tag = secrets.token_hex(3)
        self._count = 0
        self._plus = False  # LITERAL+ (RFC 7888)
        self._many = False
        self.watch: Callable[[bytes], None] | None = None  # sees unasked-for data as it arrives (IDLE)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:
            if self.watch is not None:
                self.watch(data)
            return
        self._chunks.append(data)
        self._look(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(exc or ImapError("connection closed"))

    def _look(self, data: bytes) -> None:
        received = self._tail + data
        self._tail = received[-_TAIL:]
        if not received.endswith(b"\r\n") or self._waiter is None or self._waiter.done():
            return
        if self._end.startswith(b"+"):  # other responses may stand behind a continuation request, and no literals
            found = (b"\r\n" + received).find(b"\r\n" + self._end) >= 0
        else:
            found = _last_line(self._tail).startswith(self._end)
        if found:
            self._waiter.set_result(None)

    # The dialogue

    async def until(self, end: bytes, data: bytes = b"") -> bytes:
        """Sends `data`, then all that arrives up to and with a last line that begins with `end`."""
        assert self._transport is not None
        self._chunks, self._tail, self._end = [], b"", end
        self._waiter = asyncio.get_running_loop().create_future()
        if data:
            self._transport.write(data)
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._waiter
        except TimeoutError:
            raise ImapError(f"no {end!r} in {TIMEOUT:.0f} s, but {self._tail[-200:]!r}") from None
        finally:
            self._waiter = None
        return b"".join(self._chunks)

    def write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def tag(self) -> bytes:
        self._count += 1
        return f"{self._tag}{self._count}".encode()

    async def command(self, line: bytes) -> bytes:
        """One command (without its tag and line end); the whole answer. Raises: ImapError when it is not OK."""
        tag = self.tag()
        answer = await self.until(tag + b" ", tag + b" " + line + b"\r\n")
        _check(answer, tag, line)
        return answer

    async def literal(self, line: bytes, last: bytes) -> bytes:
        """A command that ends with a literal; the whole answer. Raises: ImapError."""
        tag = self.tag()
        await self.until(b"+", b"%b %b{%d}\r\n" % (tag, line, len(last)))
        answer = await self.until(tag + b" ", last + b"\r\n")
        _check(answer, tag, line)
        return answer

    async def login(self, name: str, password: str) -> float:
        """Seconds that LOGIN took."""
        begun = time.perf_counter()
        await self.command(f'LOGIN "{name}" "{password}"'.encode())
        took = time.perf_counter() - begun
        capabilities = await self.command(b"CAPABILITY")
        self._plus = b"LITERAL+" in capabilities
        self._many = b"MULTIAPPEND" in capabilities
        return took

    async def append(self, mailbox: str, message: bytes) -> None:
        """In one piece where the server allows it."""
        tag = self.tag()
        line = b'%b APPEND "%b" {%d%b}\r\n' % (tag, mailbox.encode(), len(message), b"+" if self._plus else b"")
        literal = message + b"\r\n"
        if self._plus:
            literal = line + literal
        else:
            await self.until(b"+", line)
        _check(await self.until(tag + b" ", literal), tag, b"APPEND")

    @property
    def takes_many(self) -> bool:
        """Whether `append_all` can be used; known after the login."""
        return self._plus and self._many

    async def append_all(self, mailbox: str, messages: Sequence[bytes]) -> None:
        """In one command (MULTIAPPEND, RFC 3502), in one piece."""
        tag = self.tag()
        literals = b"".join(b" {%d+}\r\n%b" % (len(message), message) for message in messages)
        _check(
            await self.until(tag + b" ", b'%b APPEND "%b"%b\r\n' % (tag, mailbox.encode(), literals)), tag, b"APPEND"
        )

    async def idle(self) -> bytes:
        """Begins IDLE; from now on what arrives goes to `watch`. Gives what `done` asks for."""
        tag = self.tag()
        await self.until(b"+ ", tag + b" IDLE\r\n")
        return tag

    async def done(self, tag: bytes) -> None:
        """Ends IDLE."""
        _check(await self.until(tag + b" ", b"DONE\r\n"), tag, b"IDLE")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _last_line(answer: bytes) -> bytes:
    before = answer.rfind(b"\r\n", 0, -2)
    return answer[before + 2 :] if before >= 0 else answer


def _check(answer: bytes, tag: bytes, line: bytes) -> None:
    last = _last_line(answer)
    if not last.startswith(tag + b" OK"):
        raise ImapError(f"{line[:60].decode('ascii', 'replace')}: {last.decode('utf-8', 'replace').strip()}")


async def connect(host: str, port: int, tls: ssl.SSLContext | None = None) -> ImapClient:
    """A connection after the greeting."""
    loop = asyncio.get_running_loop()
    client = ImapClient()
    client._end = b"* OK"  # the greeting may arrive before anybody waits for it
    client._waiter = loop.create_future()
    await loop.create_connection(lambda: client, host, port, ssl=tls)
    async with asyncio.timeout(TIMEOUT):
        await client._waiter
    client._waiter = None
    return client


def client_context() -> ssl.SSLContext:
    """TLS without a look at the certificate: it is self-signed, and on loopback."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
