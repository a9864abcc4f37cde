"""The way into the API: connections are counted before HTTP spends anything on them (H10)."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

from prometheus_client import Gauge

from duckmail.errors import LimitReached
from duckmail.runtime import metrics
from duckmail.runtime.log import event

REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nServer: duckmail\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

_logger = logging.getLogger("duckmail.api")


class Door(asyncio.Protocol):
    """One connection. It is `inside` that serves it, if there is room.

    Args:
        inside: makes the protocol of an accepted connection.
        admit: counts a connection of the peer (as the socket names it) while entered; LimitReached.
    """

    service = "api"  # as metrics name it

    def __init__(
        self, inside: Callable[[], asyncio.Protocol], admit: Callable[[object], AbstractContextManager[None]]
    ) -> None:
        self._inside = inside
        self._open: Gauge | None = None
        self._admit = admit
        self._counted = ExitStack()
        self._protocol: asyncio.Protocol = asyncio.Protocol()  # ignores what a refused client sends

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        try:
            self._counted.enter_context(self._admit(peer))
        except LimitReached as error:
            event(_logger, logging.INFO, "refused", peer=str(peer), reason=error.text)
            if isinstance(transport, asyncio.WriteTransport):
                transport.write(REFUSAL)
            transport.close()
            return
        metrics.ACCEPTED[self.service].inc()
        self._open = metrics.OPEN[self.service, metrics.TLS[transport.get_extra_info("ssl_object") is not None]]
        self._open.inc()
        self._protocol = self._inside()
        self._protocol.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._counted.close()
        if self._open is not None:
            self._open.dec()
        self._protocol.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()
