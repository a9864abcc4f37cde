"""The way into the API: connections are counted before HTTP spends anything on them (H10).

Nothing is done with what a client says before it has its place: that costs the connection one answer of Redis, and its
requests nothing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import cast

from prometheus_client import Gauge

from duckmail.errors import LimitReached
from duckmail.runtime import metrics
from duckmail.runtime.log import event
from duckmail.runtime.tasks import Tasks

REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nServer: duckmail\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

_logger = logging.getLogger("duckmail.api")


class Door(asyncio.Protocol):
    """One connection. It is `inside` that serves it, if there is room.

    Args:
        inside: makes the protocol of an accepted connection.
        admit: a place for a connection of the peer (as the socket names it), until the context ends; LimitReached.
        entering: those who wait for their place; when it is closed, nobody is let in any more.
    """

    service = "api"  # as metrics name it

    def __init__(
        self, inside: Callable[[], asyncio.Protocol], admit: Callable[[object], Awaitable[ExitStack]], entering: Tasks
    ) -> None:
        self._inside = inside
        self._open: Gauge | None = None
        self._admit = admit
        self._entering = entering
        self._lost = False
        self._transport: asyncio.Transport | None = None
        self._early: list[bytes] = []  # what came before there was a place: one read, then reading pauses
        self._place = ExitStack()
        self._protocol: asyncio.Protocol | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._entering.closed:
            self._transport.abort()
        else:
            self._entering.start(self._enter(self._transport), self.service)

    async def _enter(self, transport: asyncio.Transport) -> None:
        peer = transport.get_extra_info("peername")
        try:
            place = await self._admit(peer)
        except LimitReached as error:
            event(_logger, logging.INFO, "refused", peer=str(peer), reason=error.text)
            if not self._gone(transport):  # uvloop's transports take no octets then
                transport.write(REFUSAL)
                transport.close()
            return
        except asyncio.CancelledError:
            transport.abort()
            raise
        if self._gone(transport):  # it did not wait
            place.close()
            return
        self._place = place
        metrics.ACCEPTED[self.service].inc()
        self._open = metrics.OPEN[self.service, metrics.TLS[transport.get_extra_info("ssl_object") is not None]]
        self._open.inc()
        self._protocol = self._inside()
        self._protocol.connection_made(transport)
        early, self._early = self._early, []
        if early:
            transport.resume_reading()  # first: the protocol may want a pause itself
        for data in early:
            self._protocol.data_received(data)

    def _gone(self, transport: asyncio.Transport) -> bool:
        return self._lost or transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._place.close()
        if self._open is not None:
            self._open.dec()
        if self._protocol is not None:
            self._protocol.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._protocol is not None:
            self._protocol.data_received(data)
        elif self._transport is not None and not self._transport.is_closing():  # else it was refused
            self._early.append(data)
            self._transport.pause_reading()  # not sooner: uvloop starts to read after `connection_made`, come what may

    def eof_received(self) -> bool | None:
        return None if self._protocol is None else self._protocol.eof_received()

    def pause_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.resume_writing()
