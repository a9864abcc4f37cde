"""A lean LMTP client: one connection, transactions pipelined as a relay does it (RFC 2920)."""

import asyncio
import time
from typing import ClassVar, Self, cast

TIMEOUT = 60.0


class LmtpError(Exception):
    """An answer that was not the one asked for."""


class LmtpClient(asyncio.Protocol):
    """`await connect(...)`, then `deliver` as often as wanted."""

    hello: ClassVar[bytes] = b"LHLO"

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._wanted = 0
        self._waiter: asyncio.Future[list[bytes]] | None = None
        self.offers: frozenset[bytes] = frozenset()  # keywords of the answer to LHLO; Dovecot's LMTP has no SIZE

    @classmethod
    async def connect(cls, host: str, port: int) -> Self:
        """A connection after LHLO."""
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(cls, host, port)
        await client.command(b"", b"220")
        await client.command(cls.hello + b" bench.test\r\n", b"250")
        return client

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(exc or LmtpError("connection closed"))

    # The dialogue

    def write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    async def replies(self, count: int) -> list[bytes]:
        """The last lines of the next `count` replies."""
        self._wanted = count
        self._waiter = asyncio.get_running_loop().create_future()
        self._look()
        return await self._waiter

    def _look(self) -> None:
        if self._waiter is None or self._waiter.done() or not self._buffer.endswith(b"\r\n"):
            return
        # RFC 5321 §4.2.1: a hyphen after the code says that more lines follow.
        received = bytes(self._buffer).split(b"\r\n")[:-1]
        lines = [line for line in received if line[3:4] != b"-"]
        if len(lines) >= self._wanted:
            if len(received) > len(lines):  # the answer to LHLO alone has several lines
                self.offers = frozenset(line[4:].split(b" ")[0] for line in received)
            self._buffer.clear()
            self._waiter.set_result(lines)

    async def command(self, data: bytes, expected: bytes, count: int = 1) -> None:
        """Sends and waits; every reply must begin with the digits `expected`."""
        self.write(data)
        for answer in await self.replies(count):
            if not answer.startswith(expected):
                raise LmtpError(answer.decode("utf-8", "replace"))

    async def deliver(self, message: bytes, *recipients: str, sender: str = "sender@example.net") -> float:
        """One transaction; returns when every recipient has its 250. `message`: dot-stuffed, ends with CRLF.

        Gives the seconds from its begin to the last octet of the message.
        """
        begun = time.perf_counter()
        to = "".join(f"RCPT TO:<{recipient}>\r\n" for recipient in recipients)
        size = f" SIZE={len(message)}" if b"SIZE" in self.offers else ""
        self.write(f"MAIL FROM:<{sender}>{size}\r\n{to}DATA\r\n".encode())
        answers = await self.replies(2 + len(recipients))
        if [answer[:3] for answer in answers] != [b"250"] * (1 + len(recipients)) + [b"354"]:
            raise LmtpError(str(answers))
        sent = time.perf_counter()
        await self.command(message + b".\r\n", b"250", self._verdicts(len(recipients)))
        return sent - begun

    def _verdicts(self, recipients: int) -> int:
        """RFC 2033 §4.2: the end of the message is answered for each recipient."""
        return recipients

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
