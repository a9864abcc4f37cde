"""Accepting: from listening sockets to sessions, with PROXY headers, limits and draining."""

import asyncio
import logging
import socket
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from duckmail.errors import LimitReached
from duckmail.runtime import metrics
from duckmail.runtime.log import event
from duckmail.runtime.tasks import Tasks
from protocols.net.connection import Connection
from protocols.net.limits import Limits
from protocols.net.peer import Networks, Peer
from protocols.net.sockets import ListenError, ListeningSocket, ListenSpec, listen
from protocols.net.tls import TlsContexts
from protocols.wire import proxy

PROXY_TIMEOUT = 5.0  # seconds until the header must be complete
_CANCEL_TIMEOUT = 1.0  # seconds for sessions to end after their connection was aborted
_REFUSALS = 64  # connections over a limit that are told so at the same time; others are just closed
_PAUSES = (0.05, 0.2, 1.0)  # seconds before the next accept after errors in a row
_KEEPALIVE = (  # a client that vanished is noticed within 4 minutes, not after the session's 30
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 120),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
)

Serve = Callable[[Connection], Awaitable[None]]  # a protocol's session: runs until the connection ends

_logger = logging.getLogger("duckmail.net")


@dataclass(frozen=True)
class Service:
    """What is offered on a group of listening addresses.

    `refusal` is the complete line for a client over a limit, such as `* BYE Too many connections\\r\\n`. `proxy_peers`:
    from them a PROXY header is mandatory, from everybody else it is never interpreted. With `implicit_tls` the client
    starts with its handshake; otherwise `tls`, if there, is for `start_tls`.
    """

    name: str
    serve: Serve
    refusal: bytes
    tls: TlsContexts | None = None
    implicit_tls: bool = False
    proxy_peers: Networks = field(default_factory=Networks)

    def __post_init__(self) -> None:
        if self.implicit_tls and self.tls is None:
            raise ValueError(f"{self.name}: implicit TLS needs a certificate")


class Listeners:
    """All listeners of the process and the connections they accepted; `async with Listeners(limits) as listeners`."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._accepting = Tasks("accept")
        self._sessions = Tasks("connection")
        self._sockets: list[ListeningSocket] = []
        self._connections: dict[Connection, str] = {}  # with the name of the service
        self._refusals = 0
        self._draining = False

    def start(self, service: Service, specs: Iterable[ListenSpec | str]) -> list[str]:
        """Listen on all of `specs` for `service`; gives the addresses, with the real ports.

        Raises:
            ListenError: one of them cannot be had; none of these is kept.
        """
        opened: list[ListeningSocket] = []
        try:
            for spec in specs:
                opened.extend(listen(spec))
        except ListenError:
            for one in opened:
                one.close()
            raise
        return [self.serve(service, one) for one in opened]

    def serve(self, service: Service, listening: ListeningSocket) -> str:
        """Accept connections for `service` on a socket that is open already, and own it; gives its address."""
        self._sockets.append(listening)
        self._accepting.start(self._accept(service, listening), listening.address)
        event(_logger, logging.INFO, "listening", service=service.name, address=listening.address)
        return listening.address

    @property
    def connections(self) -> int:
        """Connections with a session now."""
        return len(self._connections)

    def census(self) -> Mapping[tuple[str, bool], int]:
        """Connections with a session now, by the name of the service and whether TLS is in use."""
        return Counter((name, connection.tls) for connection, name in self._connections.items())

    async def _accept(self, service: Service, listening: ListeningSocket) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            try:
                sock, address = await loop.sock_accept(listening.sock)
            except ConnectionAbortedError:
                continue
            except OSError as error:
                # Nothing that accept(2) says may end this loop: EMFILE, ENFILE, ENOMEM pass when connections end.
                if not failures:
                    fields = {"service": service.name, "address": listening.address, "reason": error.strerror}
                    event(_logger, logging.ERROR, "accepting connections fails", **fields)
                await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
                failures += 1
                continue
            failures = 0
            sock.setblocking(False)
            self._sessions.start(self._admit(service, sock, address), service.name)
            await asyncio.sleep(0)  # a full backlog must not keep the loop from everybody else

    async def _admit(self, service: Service, sock: socket.socket, address: tuple[str, int]) -> None:
        """One connection from accept to end, and everything that is counted for it."""
        peer = _peer(sock, address)
        try:
            with self._limits.connection():
                peer = await _identify(service, sock, peer)
                with await self._place(sock, peer):
                    await self._converse(service, sock, peer)
        except LimitReached as error:
            event(_logger, logging.INFO, "refused", service=service.name, peer=peer.host, reason=error.text)
            await self._refuse(service, sock, peer)
        except (OSError, proxy.ProxyError) as error:
            metrics.REFUSED["proxy"].inc()
            reason = str(error) or "no PROXY header in time"
            event(_logger, logging.WARNING, "dropped", service=service.name, peer=peer.host, reason=reason)

    async def _place(self, sock: socket.socket, peer: Peer) -> ExitStack:
        """Raises: LimitReached; the socket is still open then."""
        try:
            return await self._limits.network(peer)
        except asyncio.CancelledError:
            sock.close()
            raise

    async def _refuse(self, service: Service, sock: socket.socket, peer: Peer) -> None:
        if self._refusals >= _REFUSALS:
            sock.close()
            return
        self._refusals += 1
        try:
            connection = await Connection.accept(sock, peer, service.tls, implicit_tls=service.implicit_tls)
            connection.write(service.refusal)
            await connection.finish()
        except OSError:
            pass
        finally:
            self._refusals -= 1

    async def _converse(self, service: Service, sock: socket.socket, peer: Peer) -> None:
        try:
            connection = await Connection.accept(sock, peer, service.tls, implicit_tls=service.implicit_tls)
        except OSError as error:
            metrics.REFUSED["handshake"].inc()
            event(_logger, logging.INFO, "no handshake", service=service.name, peer=peer.host, reason=str(error))
            return
        self._connections[connection] = service.name
        metrics.ACCEPTED[metrics.service(service.name)].inc()
        if self._draining:
            connection.drain_session()
        try:
            await _session(service, connection)
            await connection.finish()
        finally:
            connection.abort()  # of no effect but for a session that was cancelled
            del self._connections[connection]

    async def drain(self, timeout: float) -> None:
        """Stop accepting, let every session say goodbye, abort what is left after `timeout` seconds."""
        self._draining = True
        await self._accepting.aclose()
        for listening in self._sockets:
            listening.close()
        self._sockets.clear()
        for connection in list(self._connections):
            connection.drain_session()
        left = await self._sessions.finished(timeout)
        if left:
            event(_logger, logging.WARNING, "connections aborted after draining", connections=left, timeout=timeout)
        for connection in list(self._connections):
            connection.abort()
        await self._sessions.aclose(_CANCEL_TIMEOUT)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.drain(0)


def _peer(sock: socket.socket, address: tuple[str, int]) -> Peer:
    """The peer as accept(2) gave it."""
    return Peer("", 0, unix=True) if sock.family == socket.AF_UNIX else Peer.of(address[0], address[1])


async def _session(service: Service, connection: Connection) -> None:
    """Run the session; its failure is logged and ends nothing but itself (H1)."""
    started = time.monotonic()
    fields = {"service": service.name, "connection": connection.id, "peer": connection.peer.host}
    try:
        await service.serve(connection)
    except (ConnectionError, TimeoutError, ssl.SSLError) as error:
        event(_logger, logging.DEBUG, "connection lost", reason=str(error) or type(error).__name__, **fields)
    except Exception:
        event(_logger, logging.ERROR, "session failed", exc_info=True, **fields)
    finally:
        event(
            _logger,
            logging.INFO,
            "connection ended",
            **fields,
            tls=connection.tls,
            seconds=round(time.monotonic() - started, 3),
            received=connection.received_octets,
            sent=connection.written_octets,
        )


async def _identify(service: Service, sock: socket.socket, peer: Peer) -> Peer:
    """Who is behind the connection; closes it on any error, since nobody else owns it yet."""
    try:
        if not peer.unix:
            for level, option, value in _KEEPALIVE:
                sock.setsockopt(level, option, value)
        return await _proxied(sock, peer) if peer in service.proxy_peers else peer
    except BaseException:
        sock.close()
        raise


async def _proxied(sock: socket.socket, proxy_peer: Peer) -> Peer:
    """The client that the PROXY header names; the proxy itself if the connection is its own.

    Raises:
        proxy.ProxyError: there is no proper header.
        OSError: the connection failed, or (TimeoutError) the header was not complete in time.
    """
    async with asyncio.timeout(PROXY_TIMEOUT):
        source = (await _read_header(sock)).source
    if source is None:
        return proxy_peer
    return Peer(source.host, 0, unix=True) if source.unix else Peer.of(source.host, source.port)


async def _read_header(sock: socket.socket) -> proxy.Header:
    """Take the header off the socket and not an octet more: what follows is the transport's, or TLS's."""
    data = b""
    while True:
        peeked = await _peek(sock, proxy.LONGEST)
        if not peeked:
            raise proxy.ProxyError("closed before the PROXY header was complete")
        header = proxy.parse(data + peeked)
        if header is not None:
            sock.recv(header.length - len(data))
            return header
        data += sock.recv(len(peeked))


async def _peek(sock: socket.socket, limit: int) -> bytes:
    loop = asyncio.get_running_loop()
    while True:
        try:
            return sock.recv(limit, socket.MSG_PEEK)
        except BlockingIOError:
            readable = asyncio.Event()
            loop.add_reader(sock, readable.set)
            try:
                await readable.wait()
            finally:
                loop.remove_reader(sock)
