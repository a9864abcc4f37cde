"""A connection that this server makes; to its session as one that it accepted, with TLS from the other side."""

import asyncio
import ssl
from typing import Self

from protocols.net.connection import Connection
from protocols.net.peer import Peer
from protocols.net.tlslayer import TlsLayer


class PlaintextBehindAnswer(ConnectionError):
    """Octets came in plaintext that would be read as if TLS had protected them."""


class Outgoing(Connection):
    """One connection to a server elsewhere; make it with `dial`."""

    __slots__ = ("_leaving",)

    def __init__(self, peer: Peer) -> None:
        """Used by `dial`."""
        super().__init__(peer, None)
        self._leaving: asyncio.TimerHandle | None = None

    @classmethod
    async def dial(cls, address: str, port: int, timeout: float) -> Self:
        """Connect to an IP address.

        Raises:
            OSError: nobody listens there, or it cannot be reached; TimeoutError after `timeout` seconds.
        """
        connection = cls(Peer.of(address, port))
        try:
            async with asyncio.timeout(timeout):
                await asyncio.get_running_loop().create_connection(lambda: connection, address, port)
        except BaseException:
            connection.abort()
            raise
        return connection

    @property
    def readable(self) -> bool:
        """Something came that was not received yet: octets, or the end of the stream."""
        return self._unread > 0 or self._eof

    async def secure(self, context: ssl.SSLContext, name: str, timeout: float) -> None:
        """Begin TLS with the server that calls itself `name` (a host name or an address).

        Raises:
            PlaintextBehindAnswer: the server, or somebody between, sent octets too early; nothing was sent.
            OSError: the handshake failed (`ssl.SSLError`), was cut off, or took more than `timeout` seconds; all is
                closed.
        """
        if self._unread:
            raise PlaintextBehindAnswer("octets in plaintext before the TLS handshake")
        if self._eof:
            raise ConnectionResetError("the connection is closed")
        self._layer = TlsLayer(context, name)
        self._secured = asyncio.get_running_loop().create_future()
        self._send(self._layer.begin())
        await self._handshake(timeout)

    def chain(self) -> list[bytes]:
        """The server's certificates in DER, its own first; none without TLS."""
        return self._layer.chain() if self._layer is not None else []

    def leave(self, timeout: float) -> None:
        """Close when the peer has answered, or ended, or after `timeout` seconds; returns at once.

        Nothing can be received any more. A TLS peer that reads our end of stream cannot send its last line (asyncio's
        own TLS, for one, is such a peer).
        """
        if self.readable:
            self.close()
        elif self._leaving is None and not self.is_closing:
            self._leaving = asyncio.get_running_loop().call_later(timeout, self.close)

    def _wake_reader(self) -> None:
        super()._wake_reader()
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
            self.close()
