"""A lean POP3 client: messages are counted by their ends, and thrown away."""

import asyncio
from collections.abc import Sequence
from typing import Self, cast

TIMEOUT = 60.0
# RFC 1939 §3: no line of a message can be this one, since its dots are stuffed.
_END = b"\r\n.\r\n"


class Pop3Error(Exception):
    """An answer that was not +OK, or none."""


class Pop3Client(asyncio.Protocol):
    """`await connect(...)`, `login`, then `retrieve` as often as wanted; `quit` at the end."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._end = b""
        self._missing = 0  # ends that have not come yet
        self._waiter: asyncio.Future[bytes] | None = None
        self.octets = 0  # received in all
        self.pipelining = False

    @classmethod
    async def connect(cls, host: str, port: int) -> Self:
        """A connection after the greeting."""
        loop = asyncio.get_running_loop()
        client = cls()
        client._expect(b"\r\n", 1)  # the greeting may arrive before anybody waits for it
        await loop.create_connection(lambda: client, host, port)
        await client._answered()
        return client

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.octets += len(data)
        if self._waiter is None or self._waiter.done():
            return
        self._buffer += data
        start = 0
        while self._missing:
            refused = self._buffer.startswith(b"-", start)  # one line, whatever was asked for
            end = self._buffer.find(b"\r\n" if refused else self._end, start)
            if end < 0:
                break
            answer, start = slice(start, end), end + len(self._end)
            if refused:
                self._waiter.set_exception(Pop3Error(self._buffer[answer].decode("utf-8", "replace")))
                return
            self._missing -= 1
            if not self._missing:
                self._waiter.set_result(self._buffer[answer])
        self._buffer = self._buffer[start:]

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(exc or Pop3Error("connection closed"))

    # The dialogue

    def _expect(self, end: bytes, count: int) -> None:
        self._buffer, self._end, self._missing = b"", end, count
        self._waiter = asyncio.get_running_loop().create_future()

    async def _answered(self) -> bytes:
        assert self._waiter is not None
        async with asyncio.timeout(TIMEOUT):
            return await self._waiter

    async def command(self, line: bytes, end: bytes = b"\r\n", count: int = 1) -> bytes:
        """Sends, and waits for `count` answers that end with `end`; the last one. Raises: Pop3Error."""
        assert self._transport is not None
        self._expect(end, count)
        self._transport.write(line)
        return await self._answered()

    async def login(self, name: str, password: str) -> int:
        """The number of messages."""
        self.pipelining = b"PIPELINING" in await self.command(b"CAPA\r\n", _END)
        await self.command(f"USER {name}\r\n".encode())
        await self.command(f"PASS {password}\r\n".encode())
        return int((await self.command(b"STAT\r\n")).split()[1])

    async def retrieve(self, numbers: Sequence[int]) -> None:
        """RETR of each, all commands in one write. Raises: Pop3Error."""
        await self.command(b"".join(b"RETR %d\r\n" % number for number in numbers), _END, len(numbers))

    async def quit(self) -> None:
        await self.command(b"QUIT\r\n")
        self.close()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
