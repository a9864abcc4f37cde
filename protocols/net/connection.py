"""One accepted connection as a session sees it: bounded reading and writing, TLS in place, an orderly end."""

import asyncio
import base64
import logging
import os
import socket
import ssl
from collections.abc import Callable
from typing import Self, cast

from duckmail.model.credentials import Trace
from duckmail.runtime.log import event
from protocols.net.peer import Peer
from protocols.net.tls import HANDSHAKE_TIMEOUT, ServerContext, TlsContexts
from protocols.net.tlslayer import TlsLayer

RECEIVE_LIMIT = 256 * 1024  # octets handed out at once; with more than that unread the socket is not read
WRITE_HIGH, WRITE_LOW = 256 * 1024, 64 * 1024  # octets: above the first `drain` waits until the second
WRITE_LIMIT = 128 * 1024 * 1024  # octets unsent, and still more is written without `drain`: the connection ends (P6)
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
        "_layer",
        "_on_drain",
        "_paused",
        "_reader",
        "_secured",
        "_timer",
        "_transport",
        "_unread",
        "_write_paused",
        "_writers",
        "closing",
        "id",
        "peer",
        "received_octets",
        "written_octets",
    )

    def __init__(self, peer: Peer, contexts: TlsContexts | None) -> None:
        """Used by `accept`, which adds the transport. `contexts`: None where TLS is not offered."""
        self.id = base64.b32encode(os.urandom(10)).decode().lower()  # 16 characters
        self.peer = peer
        self.closing = asyncio.Event()  # set by `close`, `abort` and the loss of the connection
        self.received_octets = 0  # as handed to the session; for the log
        self.written_octets = 0  # as the session wrote them
        self._contexts = contexts
        self._layer: TlsLayer | None = None
        self._secured: asyncio.Future[None] | None = None  # the handshake that goes on
        self._transport: asyncio.Transport | None = None
        self._chunks: list[bytes] = []
        self._unread = 0
        self._paused = False
        self._eof = False
        self._write_paused = False
        self._reader: asyncio.Future[None] | None = None
        self._writers: set[asyncio.Future[None]] = set()
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
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
        connection = cls(peer, contexts)
        if implicit_tls:  # now: the ClientHello may come before the loop gives the transport back
            connection._begin_tls()
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, sock)
        except BaseException:
            sock.close()
            raise
        if implicit_tls:
            try:
                await connection._handshake()
            except OSError:
                await connection.finish()
                raise
        return connection

    @property
    def trace(self) -> Trace:
        """For the log of who signs in."""
        return Trace("" if self.peer.unix else self.peer.host, self.id)

    @property
    def tls(self) -> bool:
        """TLS is in use."""
        return self._layer is not None and self._layer.established

    @property
    def end_point(self) -> bytes:
        """The channel binding tls-server-end-point (RFC 5929 §4) of the certificate that was presented; empty without
        TLS, and where it is not defined."""
        if self._layer is None or not self._layer.established:
            return b""
        context = self._layer.context
        return context.end_point if isinstance(context, ServerContext) else b""

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
        return self._contexts is not None and self._layer is None

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
        if not self._chunks and not self._eof:
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
        if self._layer is not None:
            data = self._through_tls(self._layer, data)
            if not data:
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
        self._end_of_stream()
        return not self.closing.is_set()

    def _end_of_stream(self) -> None:
        self._eof = True
        self._fail_handshake(ConnectionResetError("lost during the TLS handshake"))
        self._wake_reader()

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # Writing

    def write(self, data: bytes) -> None:
        """Send `data`, or buffer what the peer does not take yet; after `close` or a loss it is dropped."""
        if self.closing.is_set():
            return
        self.written_octets += len(data)
        try:
            self._send(data if self._layer is None else self._layer.encrypt(data))
        except ssl.SSLError as error:
            event(_logger, logging.WARNING, "TLS failed", connection=self.id, reason=str(error))
            self.abort()

    def _send(self, data: bytes) -> None:
        """Put octets on the wire; TLS's own too, which a client can ask for without end (RFC 8446 §4.6.3)."""
        transport = self._usable()
        if transport is None or not data:
            return
        if transport.get_write_buffer_size() > WRITE_LIMIT:
            event(_logger, logging.ERROR, "too much written without drain", connection=self.id)
            self.abort()
            return
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
        if not self.tls_available:
            raise RuntimeError("TLS is not available")
        if self._eof:
            raise ConnectionResetError("the connection is closed")
        self.discard_received()
        self.write(answer)
        self._begin_tls()
        await self._handshake()

    def _begin_tls(self) -> None:
        """From here on `data_received` takes everything for TLS."""
        if self._contexts is None:
            raise RuntimeError("TLS is not available")
        self._layer = TlsLayer(self._contexts.server)
        self._secured = asyncio.get_running_loop().create_future()

    async def _handshake(self, timeout: float | None = None) -> None:
        """Wait for the end of the handshake that `_begin_tls` began."""
        if self._secured is None:
            return
        try:
            await _within(HANDSHAKE_TIMEOUT if timeout is None else timeout, self._secured)
        except OSError:
            self.close()  # not `abort`: the client may want our alert
            raise
        except BaseException:
            self.abort()
            raise
        finally:
            self._secured = None

    def _through_tls(self, layer: TlsLayer, data: bytes) -> bytes:
        """The plaintext of what came from the wire; carries the handshake on, and ends the connection on an error."""
        try:
            plain = layer.receive(data)
        except ssl.SSLError as error:
            event(_logger, logging.DEBUG, "TLS failed", connection=self.id, reason=str(error))
            self._send(layer.take())
            if not self._fail_handshake(error):
                self.close()
            return b""
        self._send(layer.take())
        if layer.established and self._secured is not None and not self._secured.done():
            self._secured.set_result(None)
        if layer.ended:
            self._end_of_stream()
        return plain

    def _fail_handshake(self, error: OSError) -> bool:
        """Let `start_tls` raise `error`, if it goes on."""
        if self._secured is None or self._secured.done():
            return False
        self._secured.set_exception(error)
        return True

    # Beginning and end

    def _usable(self) -> asyncio.Transport | None:
        """The transport, unless it is closing: uvloop raises for nearly everything then, asyncio for some."""
        return None if self._transport is None or self._transport.is_closing() else self._transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop's word."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(WRITE_HIGH, WRITE_LOW)

    def close(self) -> None:
        """Send what was written, then end the connection; returns at once and may be called again."""
        if self.closing.is_set():
            return
        transport, read_all = self._usable(), self._eof
        self._stop()
        if transport is None:
            return
        if self._layer is not None:
            self._send(self._layer.end())
        if read_all:
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
        self._end_of_stream()
        self._wake_writers()

    def connection_lost(self, exc: Exception | None) -> None:
        """The loop's word: the transport is gone. What arrived before can still be received."""
        self.closing.set()
        if not self._gone.done():
            self._gone.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
        self._end_of_stream()
        self._wake_writers()

    async def finish(self) -> None:
        """Close, and return when the connection is gone: after LINGER + FLUSH_TIMEOUT at the latest."""
        self.close()
        try:
            await asyncio.shield(self._gone)
        finally:
            self.abort()


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
