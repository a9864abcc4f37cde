"""Where relayed mail ends: an SMTP server that takes everything, counts it and throws it away."""

import asyncio
from typing import cast

_OFFERS = b"250-sink.test\r\n250-PIPELINING\r\n250-SIZE 67108864\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"
_REPLIES = {
    b"EHLO": _OFFERS,
    b"HELO": b"250 sink.test\r\n",
    b"MAIL": b"250 2.1.0 OK\r\n",
    b"RCPT": b"250 2.1.5 OK\r\n",
    b"DATA": b"354 Go on\r\n",
    b"RSET": b"250 2.0.0 OK\r\n",
    b"NOOP": b"250 2.0.0 OK\r\n",
    b"QUIT": b"221 2.0.0 Bye\r\n",
}
_END = b"\r\n.\r\n"
_TAKEN = b"250 2.0.0 Taken\r\n"


class Sink:
    """`await start()`. `taken`: messages so far, of `octets` in all; `due`: that are to come. `connections`: made.

    `pace`: seconds that it needs for a message, one after the other; 0: it takes all that comes.
    """

    def __init__(self, pace: float = 0.0) -> None:
        self.pace = pace
        self._free = 0.0  # when it is done with those that it has, by the loop's clock
        self.port = 0
        self.taken = 0
        self.octets = 0
        self.due = 0
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._sessions: set[_Session] = set()
        self._waiting: list[_Session] | None = None  # while paused: who is still to be greeted
        self._arrived = asyncio.Event()
        self._wanted = 0

    async def start(self, host: str, port: int = 0) -> None:
        self._server = await asyncio.get_running_loop().create_server(self.session, host, port)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    def session(self) -> "_Session":
        """The protocol of one connection."""
        return _Session(self)

    def pause(self) -> None:
        """Connections that are kept for more messages are closed, and new ones not greeted until `resume`."""
        self._waiting = []
        for session in self._sessions:
            session.close()

    def resume(self) -> None:
        waiting, self._waiting = self._waiting or [], None
        for session in waiting:
            session.greet()

    async def until(self, count: int, seconds: float) -> None:
        """Returns when `count` messages were taken, from the first on. Raises: TimeoutError."""
        self._wanted = count
        self._arrived.clear()
        if self.taken < count:
            async with asyncio.timeout(seconds):
                await self._arrived.wait()

    def admit(self, session: "_Session") -> None:
        self.connections += 1
        self._sessions.add(session)
        if self._waiting is None:
            session.greet()
        else:
            self._waiting.append(session)

    def leave(self, session: "_Session") -> None:
        self._sessions.discard(session)
        if self._waiting is not None and session in self._waiting:
            self._waiting.remove(session)  # it has waited for its greeting for too long

    def thought(self) -> float:
        """Seconds until the answer to a message that is here now."""
        now = asyncio.get_running_loop().time()
        self._free = max(now, self._free) + self.pace
        return self._free - now

    def take(self) -> None:
        self.taken += 1
        if self.taken >= self._wanted:
            self._arrived.set()


class _Session(asyncio.Protocol):
    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._data = False  # what comes belongs to a message

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._sink.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._sink.leave(self)

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()

    def greet(self) -> None:
        self._write(b"220 sink.test ESMTP\r\n")

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        replies: list[bytes] = []
        while self._message(replies) if self._data else self._command(replies):
            pass
        if replies:
            self._write(b"".join(replies))
            if replies[-1] == _REPLIES[b"QUIT"]:
                self.close()

    def _command(self, replies: list[bytes]) -> bool:
        """Whether there was one."""
        line, end, rest = self._buffer.partition(b"\r\n")
        if end:
            self._buffer = rest
            verb = line[:4].upper()
            replies.append(_REPLIES.get(verb, b"500 5.5.1 What?\r\n"))
            self._data = verb == b"DATA"
        return bool(end)

    def _message(self, replies: list[bytes]) -> bool:
        """Whether it has come to its end."""
        end = self._buffer.find(_END)
        if end < 0:
            keep = len(_END) - 1
            self._sink.octets += max(0, len(self._buffer) - keep)
            self._buffer = self._buffer[-keep:]
            return False
        self._sink.octets += end
        self._buffer = self._buffer[end + len(_END) :]
        self._data = False
        if self._sink.pace:
            asyncio.get_running_loop().call_later(self._sink.thought(), self._taken)
            return True
        self._sink.take()
        replies.append(_TAKEN)
        return True

    def _taken(self) -> None:
        """Behind a thought, in which a client that waits for the answer says nothing."""
        if self._transport is not None and not self._transport.is_closing():
            self._sink.take()
            self._write(_TAKEN)
