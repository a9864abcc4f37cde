"""The listener of Prometheus and of load balancers: `/metrics` and `/health`, plain HTTP, and nothing else.

It asks for no token, so it tells nothing about anybody: figures, and whether mail can be served. Its connections are
counted apart from all others, so that a server that is full can still be looked at; each carries one request.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from typing import Protocol, cast

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST

from api.answer import json_response
from api.door import Door
from duckmail.errors import DuckmailError, LimitReached
from duckmail.runtime.log import event
from duckmail.runtime.tasks import Tasks

CONNECTIONS = 32
CONNECTION_SECONDS = 20.0  # for one request: longer than any answer takes, so no slow client stays
MOST_TYPES = 32  # of an Accept header that are looked at
OPENMETRICS, PLAIN = "application/openmetrics-text", "text/plain"

_logger = logging.getLogger("duckmail.metrics")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Pages(AbstractAsyncContextManager["Pages"], Protocol):
    """What is told: by one process (`runtime.figures.Figures`), or for several (`api.workers.Workers`)."""

    async def page(self, openmetrics: bool) -> bytes: ...

    async def health(self) -> tuple[bool, Mapping[str, str]]:
        """Whether mail can be served, and in what state each part is."""
        ...


class MetricsServer:
    """`start`, and at the end of the process `stopping`, then `aclose`."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._stopping = False
        self._open = 0
        self._doors: list[asyncio.Server] = []
        self._entering = Tasks("metrics door")
        app = web.Application(middlewares=[_outermost], client_max_size=0)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/health", self._health)
        self._runner = web.AppRunner(
            app, access_log=None, max_line_size=4096, max_field_size=4096, shutdown_timeout=1, keepalive_timeout=1
        )

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Accepts on listening sockets, until `aclose`; the paths of unix sockets stay their owner's."""
        await self._pages.__aenter__()
        await self._runner.setup()
        inside = self._runner.server
        if inside is None:
            raise AssertionError("the runner of the metrics is not set up")

        def door() -> Door:
            return _BriefDoor(inside, self._admit, self._entering)

        loop = asyncio.get_running_loop()
        for sock in sockets:
            if sock.family == socket.AF_UNIX:
                self._doors.append(await loop.create_unix_server(door, sock=sock))
            else:
                self._doors.append(await loop.create_server(door, sock=sock))

    def stopping(self) -> None:
        """From now on `/health` says 503: a load balancer is to send nobody here any more."""
        self._stopping = True

    async def aclose(self) -> None:
        """Stops accepting and ends what is open."""
        for door in self._doors:
            door.close()
        await self._entering.aclose()
        await self._runner.cleanup()
        await self._pages.__aexit__(None, None, None)

    async def _metrics(self, request: web.Request) -> web.Response:
        openmetrics = prefers_openmetrics(",".join(request.headers.getall("Accept", [])))
        body = await self._pages.page(openmetrics)
        content_type = CONTENT_TYPE_LATEST if openmetrics else CONTENT_TYPE_PLAIN_0_0_4
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _health(self, _: web.Request) -> web.Response:
        serving, parts = await self._pages.health()
        if self._stopping:
            return json_response({"status": "stopping", **parts}, 503)
        return json_response({"status": "ok" if serving else "failing", **parts}, 200 if serving else 503)

    async def _admit(self, _: object) -> ExitStack:
        if self._open >= CONNECTIONS:
            raise LimitReached("Too many connections", total=CONNECTIONS)
        self._open += 1
        place = ExitStack()
        place.callback(self._leave)
        return place

    def _leave(self) -> None:
        self._open -= 1


async def start_metrics(pages: Pages, sockets: Sequence[socket.socket]) -> MetricsServer:
    """A server of `pages` on listening sockets."""
    server = MetricsServer(pages)
    await server.start(sockets)
    return server


class _BriefDoor(Door):
    """A connection that ends by itself."""

    service = "metrics"
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        abort = cast("asyncio.Transport", transport).abort  # uvloop's are of no class of asyncio
        self._timer = asyncio.get_running_loop().call_later(CONNECTION_SECONDS, abort)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)


@web.middleware
async def _outermost(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        response = await handler(request)
    except web.HTTPException as error:
        response = web.Response(status=error.status, text=f"{error.status} {error.reason}\n")
        response.headers.update({key: value for key, value in error.headers.items() if key == "Allow"})
    except DuckmailError as error:
        response = web.Response(status=503, text=f"{error.text}\n")
    except Exception as error:
        event(_logger, logging.ERROR, "request failed", exc_info=error)
        response = web.Response(status=500, text="Internal error\n")
    response.headers["Server"] = "duckmail"
    response.headers["Cache-Control"] = "no-store"
    response.force_close()
    return response


def prefers_openmetrics(accept: str) -> bool:
    """Whether a client that sent this Accept header would rather have OpenMetrics than the plain text format.

    RFC 9110 §12.5.1: a media type is as welcome as its `q` says, 1 without one.
    """
    weights: dict[str, float] = {}
    for entry in accept.split(",")[:MOST_TYPES]:
        kind, *parameters = (part.strip().lower() for part in entry.split(";"))
        weights[kind] = max(weights.get(kind, 0.0), _weight(parameters))
    wanted = weights.get(OPENMETRICS, 0.0)
    plain = max(weights.get(kind, 0.0) for kind in (PLAIN, "text/*", "*/*"))
    return wanted > 0 and wanted >= plain


def _weight(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                return 0.0
            return weight if 0 <= weight <= 1 else 0.0
    return 1.0
