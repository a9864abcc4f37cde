"""What mail programs and other servers find at well-known places; it needs no token, and tells of no account."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from api.answer import json_response
from duckmail.services import clientsetup
from duckmail.services.clientsetup import Setup, Unanswerable

READ_SECONDS = 15.0
CACHED = "public, max-age=3600"
AUTOCONFIG = ("/mail/config-v1.1.xml", "/.well-known/autoconfig/mail/config-v1.1.xml")
# As programs write it.
AUTODISCOVER = (
    "/autodiscover/autodiscover.xml",
    "/Autodiscover/Autodiscover.xml",
    "/AutoDiscover/AutoDiscover.xml",
    "/Autodiscover/autodiscover.xml",
)
AUTODISCOVER_JSON = (
    "/autodiscover/autodiscover.json",
    "/autodiscover/autodiscover.json/v1.0/{address}",
    "/Autodiscover/Autodiscover.json",
    "/Autodiscover/Autodiscover.json/v1.0/{address}",
)
MTA_STS = "/.well-known/mta-sts.txt"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class StsPolicy(Protocol):
    """What is needed of `duckmail.services.transport.ownpolicy.OwnPolicy`."""

    async def of_host(self, host: str, /) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Found:
    """`setup`: None where nothing is told."""

    setup: Setup | None
    sts: StsPolicy


def add_routes(app: web.Application, found: Found) -> None:
    app.router.add_route("GET", MTA_STS, _policy(found.sts))
    if found.setup is None:
        return
    for path in AUTOCONFIG:
        app.router.add_route("GET", path, _autoconfig(found.setup))
    for path in AUTODISCOVER:
        app.router.add_route("GET", path, _autodiscover(found.setup))
        app.router.add_route("POST", path, _autodiscover(found.setup))
    for path in AUTODISCOVER_JSON:
        app.router.add_route("GET", path, _autodiscover_json(found.setup))


def _policy(policy: StsPolicy) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        body = await policy.of_host(request.headers.get("Host", "")[:300])
        if body is None:
            raise web.HTTPNotFound
        return web.Response(text=body, content_type="text/plain", headers={"X-Content-Type-Options": "nosniff"})

    return handle


def _autoconfig(setup: Setup) -> Handler:
    document = clientsetup.autoconfig(setup)

    async def handle(_: web.Request) -> web.StreamResponse:
        return _xml(document, CACHED)

    return handle


def _autodiscover(setup: Setup) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return _xml(clientsetup.autodiscover(setup, ""), CACHED)
        try:
            wanted = clientsetup.asked(await _body(request))
        except Unanswerable as error:
            return _xml(clientsetup.autodiscover_error(clientsetup.INVALID, error.text))
        if wanted.schema != clientsetup.OUTLOOK:
            return _xml(clientsetup.autodiscover_error(clientsetup.NO_PROVIDER, "This is not offered"))
        return _xml(clientsetup.autodiscover(setup, wanted.address))

    return handle


async def _body(request: web.Request) -> bytes:
    """Raises: Unanswerable: it is too long, or takes too long."""
    body = bytearray()
    try:
        async with asyncio.timeout(READ_SECONDS):
            async for piece in request.content.iter_chunked(clientsetup.LARGEST):
                body += piece
                if len(body) > clientsetup.LARGEST:
                    raise Unanswerable("It is too long")
    except TimeoutError:
        raise Unanswerable("It takes too long") from None
    return bytes(body)


def _autodiscover_json(setup: Setup) -> Handler:
    url = clientsetup.autodiscover_url(setup)

    async def handle(request: web.Request) -> web.StreamResponse:
        # [MS-OXDSCLI] has no more of the second version; programs ask it where the first one is.
        if request.query.get("Protocol", "").lower() == "autodiscoverv1":
            return json_response({"Protocol": "AutodiscoverV1", "Url": url})
        error = "The given protocol value is invalid. Supported values: AutodiscoverV1"
        return json_response({"ErrorCode": "InvalidProtocol", "ErrorMessage": error}, 400)

    return handle


def _xml(document: bytes, cached: str = "no-store") -> web.Response:
    headers = {"Cache-Control": cached, "X-Content-Type-Options": "nosniff"}
    return web.Response(body=document, content_type="text/xml", charset="utf-8", headers=headers)
