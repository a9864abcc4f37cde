"""The two pages that need no token: they say what the product's documentation says, and nothing of an installation."""

import asyncio
from collections.abc import Sequence

import orjson
from aiohttp import web

from api.openapi.document import document
from api.openapi.page import POLICY, page
from api.route import Route

DOCUMENT, DOCS = "/openapi.json", "/docs"

_JSON = {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-cache"}
_HTML = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-cache",
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Pages:
    """Made once, when somebody asks: that takes a few tenths of a second, in a thread."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes
        self._made: tuple[bytes, bytes] | None = None
        self._turn = asyncio.Lock()

    async def document(self, _: web.Request) -> web.StreamResponse:
        return web.Response(body=(await self._both())[0], headers=_JSON)

    async def docs(self, _: web.Request) -> web.StreamResponse:
        return web.Response(body=(await self._both())[1], headers=_HTML)

    async def _both(self) -> tuple[bytes, bytes]:
        async with self._turn:
            if self._made is None:
                self._made = await asyncio.to_thread(_make, self._routes)
        return self._made


def _make(routes: Sequence[Route]) -> tuple[bytes, bytes]:
    said = document(routes)
    return orjson.dumps(said), page(said).encode()
