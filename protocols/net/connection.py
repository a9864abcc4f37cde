"""One accepted connection as a session sees it: bounded reading and writing, TLS in place, an orderly end."""

import asyncio
import base64
import logging
import os
import socket
from collections.abc import Callable
from typing import Self, cast

from duckmail.runtime.log import event
from protocols.net.peer import Peer
from protocols.net.tls import HANDSHAKE_TIMEOUT, SHUTDOWN_TIMEOUT, TlsContexts

RECEIVE_LIMIT = 256 * 1024  # octets handed out at once; with more than that unread the socket is not read
WRITE_HIGH, WRITE_LOW = 256 * 1024, 64 * 1024  # octets: above the first `drain` waits until the second
WRITE_LIMIT = 128 * 1024 * 1024  # octets unsent, and still more is written without `drain`: the connection ends (P6)
TLS_READ_AHEAD = 64 * 1024  # octets the loop's TLS layer may decrypt ahead while reading is paused
LINGER = 2.0  # seconds from `close` in which the peer may still send; see `close`
FLUSH_TIMEOUT = 30.0  # seconds from `close` until what the peer has not taken is dropped

_logger = logging.getLogger("duckmail.net")


class Connection(asyncio.Protocol):
    """One client's connection; lives on the loop that accepted it. One task at a time receives, any may write."""

    __slots__ = (
        "_chunks",
        "_contexts",
        "_draining",
        "_eof",
        "_gone",
        "_on_drain",
        "_paused",
        "_reader",
        "_timer",
        "_transport",
        "_unread",
        "_write_paused",
        "_writers",
        "closing",
        "id",
        "peer",
        "received_octets",
        "tls",
        "written_octets",
    )

    def __init__(self, peer: Peer, contexts: TlsContexts | None, tls: bool) -> None:
        """Used by `accept`, which adds the transport. `contexts`: for `start_tls`, or None where it is not offered."""
        self.id = base64.b32encode(os.urandom(10)).decode().lower()  # 16 characters
        self.peer = peer
        self.tls = tls
        self.closing = asyncio.Event()  # set by `close`, `abort` and the loss of the connection
        self.received_octets = 0  # decrypted; for the log
        self.written_octets = 0
        self._contexts = contexts
        self._transport: asyncio.Transport | None = None
        self._chunks: list[bytes] = []
        self._unread = 0
        self._paused = False
        self._eof = False
        self._write_paused = False
        self._reader: asyncio.Future[None] | None = None
        self._writers: set[asyncio.Future[None]] = set()
        self._gone = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._on_drain: Callable[[], None] | None = None
        self._draining = False

    @classmethod
    async def accept(
        cls, sock: socket.socket, peer: Peer, contexts: TlsContexts | None = None, *, implicit_tls: bool = False
    ) -> Self:
        """Make a connection of an accepted stream socket, which it then owns, also when this fails.

        Raises:
            OSError: the client went away, or its handshake failed (`ssl.SSLError`) or took too long.
        """
        connection = cls(peer, contexts, implicit_tls)
        context = contexts.server if contexts is not None and implicit_tls else None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                sock,
                ssl=context,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT if context else None,
                ssl_shutdown_timeout=SHUTDOWN_TIMEOUT if context else None,
            )
        except BaseException:
            sock.close()
            raise
        return connection

    @property
    def is_closing(self) -> bool:
        """No more can be written: closed here, or lost."""
        return self.closing.is_set()

    @property
    def write_paused(self) -> bool:
        """The peer takes too little: `drain` would wait. For a session that can put off what it has to say."""
        return self._write_paused

    @property
    def tls_available(self) -> bool:
        """A certificate is configured and TLS is not in use yet."""
        return self._contexts is not None and not self.tls

    @property
    def on_drain(self) -> Callable[[], None] | None:
        """Called once, on the loop, when the server drains: the session says goodbye and ends. At once if it does."""
        return self._on_drain

    @on_drain.setter
    def on_drain(self, callback: Callable[[], None] | None) -> None:
        self._on_drain = callback
        if self._draining:
            self._say_drain()

    def drain_session(self) -> None:
        """Tell the session that the server drains; for the listener."""
        if not self._draining:
            self._draining = True
            self._say_drain()

    def _say_drain(self) -> None:
        callback, self._on_drain = self._on_drain, None
        if callback is None:
            return
        try:
            callback()
        except Exception:
            event(_logger, logging.ERROR, "draining a session failed", exc_info=True, connection=self.id)
            self.abort()

    # Reading

    async def receive(self, timeout: float) -> bytes:
        """What has arrived, 1 to RECEIVE_LIMIT octets; `b""` at the end of the stream, and after `close`.

        Cancelling loses nothing. What came before the connection was lost is still handed out.

        Raises:
            TimeoutError: nothing came within `timeout` seconds.
        """
        if not self._chunks and not self._eof and not self.closing.is_set():
            if self._reader is not None:
                raise RuntimeError("two tasks receive from one connection")
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await _within(timeout, self._reader)
            finally:
                self._reader = None
        return self._take() if self._chunks else b""

    def _take(self) -> bytes:
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        if len(data) > RECEIVE_LIMIT:
            self._chunks.append(data[RECEIVE_LIMIT:])
            data = data[:RECEIVE_LIMIT]
        self._unread -= len(data)
        self._resume()
        return data

    def discard_received(self) -> int:
        """Throw away what has arrived and was not received yet; gives the octets."""
        octets = self._drop_unread()
        self._resume()
        return octets

    def _drop_unread(self) -> int:
        octets, self._unread = self._unread, 0
        self._chunks.clear()
        return octets

    def _resume(self) -> None:
        if self._paused and self._unread <= RECEIVE_LIMIT // 2:
            self._paused = False
            transport = self._usable()
            if transport is not None:
                transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """The loop's word."""
        if self.closing.is_set():  # after `close` the peer's octets are only taken off the wire
            return
        self.received_octets += len(data)
        self._chunks.append(data)
        self._unread += len(data)
        if self._unread > RECEIVE_LIMIT and not self._paused:
            self._paused = True
            transport = self._usable()
            if transport is not None:
                transport.pause_reading()
        self._wake_reader()

    def eof_received(self) -> bool:
        """The loop's word. True keeps the transport open: a client may close its half and wait for the answers."""
        self._eof = True
        self._wake_reader()
        return not self.tls and not self.closing.is_set()

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # Writing

    def write(self, data: bytes) -> None:
        """Send `data`, or buffer what the peer does not take yet; after `close` or a loss it is dropped."""
        transport = self._usable()
        if transport is None or self.closing.is_set():
            return
        if transport.get_write_buffer_size() > WRITE_LIMIT:
            event(_logger, logging.ERROR, "too much written without drain", connection=self.id)
            self.abort()
            return
        self.written_octets += len(data)
        transport.write(data)

    async def drain(self, timeout: float = 300) -> None:
        """Return when little enough is buffered that more may be written.

        Raises:
            ConnectionError: the connection is closed or lost.
            TimeoutError: the peer took too little within `timeout` seconds.
        """
        if self._write_paused and not self.closing.is_set():
            waiter = asyncio.get_running_loop().create_future()
            self._writers.add(waiter)
            try:
                await _within(timeout, waiter)
            finally:
                self._writers.discard(waiter)
        if self.closing.is_set():
            raise ConnectionResetError("the connection is closed")

    def pause_writing(self) -> None:
        """The loop's word: WRITE_HIGH is passed."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """The loop's word: down to WRITE_LOW."""
        self._write_paused = False
        self._wake_writers()

    def _wake_writers(self) -> None:
        for waiter in self._writers:
            if not waiter.done():
                waiter.set_result(None)

    # TLS

    async def start_tls(self, answer: bytes = b"") -> None:
        """Upgrade to TLS after `answer` (the plaintext `OK` or `220`; or written just before, with no await between).

        Everything that has arrived in plaintext is discarded (H2); what still comes in plaintext spoils the handshake.
        The session resets its own parser and forgets what it learned before (RFC 3501 §6.2.1, RFC 3207 §4.2).

        Raises:
            OSError: the client went away, or its handshake failed (`ssl.SSLError`) or took too long; all is closed.
        """
        if self._contexts is None or self.tls:
            raise RuntimeError("TLS is not available")
        plain = self._usable()
        if plain is None or self.closing.is_set():
            raise ConnectionResetError("the connection is closed")
        # Paused first: a ClientHello that came before `loop.start_tls` would be read as plaintext, and thrown away.
        plain.pause_reading()
        self._paused = False  # the loop resumes reading when it has put TLS in between
        self._drop_unread()
        self.write(answer)
        try:
            secured = await asyncio.get_running_loop().start_tls(
                plain,
                plain.get_protocol(),
                self._contexts.server,
                server_side=True,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT,
                ssl_shutdown_timeout=SHUTDOWN_TIMEOUT,
            )
        except BaseException:
            # During a handshake the loop does not tell the protocol of a loss.
            plain.abort()
            self.connection_lost(None)
            raise
        if secured is None:  # the loop's way to say that the client left in the middle
            self.connection_lost(None)
            raise ConnectionResetError("lost during the TLS handshake")
        self.tls = True
        self.connection_made(secured)

    # Beginning and end

    def _usable(self) -> asyncio.Transport | None:
        """The transport, unless it is closing: uvloop raises for nearly everything then, asyncio for some."""
        return None if self._transport is None or self._transport.is_closing() else self._transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop's word, and `start_tls`'s: this transport carries the connection from now on."""
        transport = cast("asyncio.Transport", transport)
        self._transport = transport
        self._write_paused = False
        transport.set_write_buffer_limits(WRITE_HIGH, WRITE_LOW)
        if self.tls:
            # Both loops' TLS transports have it, the abstract class has not.
            transport.set_read_buffer_limits(TLS_READ_AHEAD)  # type: ignore[attr-defined]

    def close(self) -> None:
        """Send what was written, then end the connection; returns at once and may be called again."""
        if self.closing.is_set():
            return
        self._stop()
        transport = self._usable()
        if transport is None:
            return
        if self.tls or self._eof or not transport.can_write_eof():
            self._close_transport()
            return
        # A socket closed with octets unread sends RST, and the peer's kernel throws our last line away with it. So
        # only our half is closed; the peer's octets are taken and dropped until it closes its own, or LINGER is over.
        try:
            transport.write_eof()
        except OSError:  # asyncio calls shutdown(2) at once: the peer has reset the connection already
            transport.abort()
            return
        self._resume()
        self._timer = asyncio.get_running_loop().call_later(LINGER, self._close_transport)

    def _close_transport(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._timer = asyncio.get_running_loop().call_later(FLUSH_TIMEOUT, self._transport.abort)

    def abort(self) -> None:
        """End the connection now; what was not sent yet is lost."""
        self._stop()
        if self._transport is not None:
            self._transport.abort()

    def _stop(self) -> None:
        self.closing.set()
        self._drop_unread()
        self._wake_reader()
        self._wake_writers()

    def connection_lost(self, exc: Exception | None) -> None:
        """The loop's word: the transport is gone. What arrived before can still be received."""
        self._gone.set()
        self.closing.set()
        if self._timer is not None:
            self._timer.cancel()
        self._wake_reader()
        self._wake_writers()

    async def wait_closed(self) -> None:
        """Return when the connection is gone; that takes at most LINGER + FLUSH_TIMEOUT from `close`."""
        await self._gone.wait()


async def _within(timeout: float, waiter: asyncio.Future[None]) -> None:
    """Wait for `waiter`; far cheaper than `asyncio.timeout`, which matters once per command of every client."""
    timer = asyncio.get_running_loop().call_later(timeout, _expire, waiter)
    try:
        await waiter
    finally:
        timer.cancel()


def _expire(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())
