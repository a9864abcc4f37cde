"""An in-memory transport: `MemoryConnection` is the server's end, `MemoryClient` the other, two bounded pipes between.

It behaves as `protocols.net.Connection` does, without sockets, so a session is driven octet by octet in its own loop.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from duckmail.model.credentials import Trace

_numbers = count(1)


@dataclass(frozen=True, slots=True)
class MemoryPeer:
    host: str = "127.0.0.1"
    port: int = 40000
    unix: bool = False

    @property
    def network(self) -> str:
        return f"{self.host}/32"

    @property
    def wide_network(self) -> str:
        return f"{self.host.rpartition('.')[0]}.0/24"


class _Pipe:
    """Octets one way, at most `limit` of them waiting before `drained` blocks the writer."""

    def __init__(self, limit: int = 256 * 1024) -> None:
        self.buffer = bytearray()
        self.eof = False
        self.limit = limit
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def write(self, data: bytes) -> None:
        self.buffer += data
        self._wake()

    def end(self) -> None:
        self.eof = True
        self._wake()

    def _wake(self) -> None:
        task = asyncio.get_running_loop().create_task(self._notify())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def wait(self, ready: Callable[[], bool], timeout: float) -> None:
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(ready)

    async def take(self, most: int, timeout: float) -> bytes:
        await self.wait(lambda: bool(self.buffer) or self.eof, timeout)
        taken = bytes(self.buffer[:most])
        del self.buffer[: len(taken)]
        self._wake()
        return taken


class MemoryConnection:
    """The server's end; see `protocols.net` for what each method promises."""

    def __init__(
        self, *, tls: bool = False, tls_available: bool = False, peer: MemoryPeer | None = None, end_point: bytes = b""
    ) -> None:
        self.id = f"memory{next(_numbers)}"
        self.peer = peer or MemoryPeer()
        self.tls = tls
        self.end_point = end_point
        self.tls_available = tls_available
        self.closing = asyncio.Event()
        self.on_drain: Callable[[], None] | None = None
        self.incoming = _Pipe()
        self.outgoing = _Pipe()

    @property
    def trace(self) -> Trace:
        return Trace(self.peer.host, self.id)

    @property
    def is_closing(self) -> bool:
        return self.closing.is_set()

    @property
    def write_paused(self) -> bool:
        return len(self.outgoing.buffer) > self.outgoing.limit

    async def receive(self, timeout: float) -> bytes:
        return await self.incoming.take(256 * 1024, timeout)

    def write(self, data: bytes) -> None:
        if not self.is_closing:
            self.outgoing.write(bytes(data))

    async def drain(self, timeout: float = 300) -> None:
        if self.is_closing:
            raise ConnectionResetError("the connection is closed")
        pipe = self.outgoing
        await pipe.wait(lambda: len(pipe.buffer) <= pipe.limit or self.is_closing, timeout)

    def discard_received(self) -> int:
        discarded = len(self.incoming.buffer)
        self.incoming.buffer.clear()
        return discarded

    async def start_tls(self) -> None:
        self.discard_received()
        self.tls, self.tls_available = True, False

    def close(self) -> None:
        self.closing.set()
        self.outgoing.end()
        self.incoming.buffer.clear()
        self.incoming.end()

    def abort(self) -> None:
        self.outgoing.buffer.clear()
        self.close()


class MemoryClient:
    """The peer's end of a `MemoryConnection`."""

    def __init__(self, connection: MemoryConnection) -> None:
        self._in = connection.outgoing
        self._out = connection.incoming

    async def send(self, data: bytes) -> None:
        self._out.write(data)
        pipe = self._out
        await pipe.wait(lambda: len(pipe.buffer) <= pipe.limit or pipe.eof, 30)

    async def line(self, timeout: float) -> bytes:
        """The next line with its line end; what is left at the end of the stream, b"" after it."""
        pipe = self._in
        await pipe.wait(lambda: b"\n" in pipe.buffer or pipe.eof, timeout)
        size = pipe.buffer.find(b"\n") + 1 or len(pipe.buffer)
        return await pipe.take(size, timeout)

    async def unread(self) -> bytes:
        """What the server has said that nobody read; lets it run a little first."""
        for _ in range(20):
            await asyncio.sleep(0)
        return bytes(self._in.buffer)

    def end(self) -> None:
        """No more octets from this side."""
        self._out.end()
