"""The aiohttp application: all routes, and what happens around each."""

import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import unquote_to_bytes

from aiohttp import web

from api.acme import CHALLENGE, challenge_answer
from api.answer import json_response
from api.auth import identify
from api.clientsetup import Found, add_routes
from api.errors import ApiError, FrameworkError, translate
from api.openapi.pages import DOCS, DOCUMENT, Pages
from api.reading import read_input, stream
from api.route import BODY_LIMIT, Route
from api.routes import (
    addresses,
    archive,
    asps,
    audit,
    authentication,
    authlog,
    autoreplies,
    certs,
    dkim,
    domainaccess,
    domainaliases,
    export,
    filters,
    health,
    mailboxes,
    messages,
    mfa,
    queue,
    quotas,
    reports,
    settings,
    sharing,
    storage,
    submission,
    tasks,
    trace,
    updates,
    users,
    webauthn,
    webhooks,
    writing,
)
from api.services import ApiServices, ApiSettings
from duckmail.errors import DuckmailError
from duckmail.model.account import Principal
from duckmail.runtime.budget import OctetBudget
from duckmail.runtime.log import event
from duckmail.runtime.metrics import CommandMeter, reply_class

_logger = logging.getLogger("duckmail.api")

ROUTES: tuple[Route, ...] = (
    *users.ROUTES,
    *webhooks.ROUTES,
    *addresses.ROUTES,
    *archive.ROUTES,
    *asps.ROUTES,
    *audit.ROUTES,
    *authentication.ROUTES,
    *authlog.ROUTES,
    *autoreplies.ROUTES,
    *certs.ROUTES,
    *dkim.ROUTES,
    *domainaccess.ROUTES,
    *domainaliases.ROUTES,
    *export.ROUTES,
    *filters.ROUTES,
    *health.ROUTES,
    *mailboxes.ROUTES,
    *messages.ROUTES,
    *mfa.ROUTES,
    *updates.ROUTES,
    *queue.ROUTES,
    *quotas.ROUTES,
    *reports.ROUTES,
    *settings.ROUTES,
    *sharing.ROUTES,
    *storage.ROUTES,
    *submission.ROUTES,
    *tasks.ROUTES,
    *trace.ROUTES,
    *webauthn.ROUTES,
    *writing.ROUTES,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_CALLER = web.RequestKey("caller", Principal)

SMALL_BODY = 1 << 20  # octets; what is smaller waits for no share of memory
BUDGET_SECONDS = 30.0
MAX_SEGMENT = 196  # octets of a path segment, as it was sent
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PARAMETER = re.compile(r"\{([a-zA-Z]+)\}")
_ALLOWED_HEADERS = "Accept, Authorization, Content-Type, Last-Event-ID, X-Access-Token, X-Requested-With"
_PREFLIGHT_SECONDS = "600"


def make_app(services: ApiServices, settings: ApiSettings, found: Found | None = None) -> web.Application:
    """The application; it owns nothing that has to be closed. `found`: at well-known places, None: nothing."""
    app = web.Application(middlewares=[_Outermost(settings)], client_max_size=0)
    for each in ROUTES:
        # A parameter may be empty: validation says so in its own words.
        app.router.add_route(each.method, _PARAMETER.sub(r"{\1:[^/]*}", each.path), _endpoint(each, services, settings))
    app.router.add_route("GET", CHALLENGE, challenge_answer(services.acme))
    if found is not None:
        add_routes(app, found)

    async def let_go(_: web.Application) -> None:
        services.updates.close()

    app.on_shutdown.append(let_go)
    said = Pages(ROUTES)
    app.router.add_route("GET", DOCUMENT, said.document)
    app.router.add_route("GET", DOCS, said.docs)
    return app


def make_runner(app: web.Application) -> web.AppRunner:
    """With limits on what a client may send ahead of a body; its lines in the log are ours."""
    return web.AppRunner(
        app, access_log=None, keepalive_timeout=75, max_line_size=16_384, max_field_size=8_190, shutdown_timeout=5
    )


def _endpoint(each: Route, services: ApiServices, settings: ApiSettings) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        caller = await identify(request, services.tokens, settings)
        request[_CALLER] = caller.principal
        async with _room(request, each, services.budget):
            values = await read_input(request, each.body_limit, services.threads, each.raw)
            for name in each.headers:
                if name in request.headers:
                    values.setdefault(name, request.headers[name])
            if values.get("user") == "me" and request.match_info.get("user") == "me" and caller.principal.user:
                values["user"] = caller.principal.user
            return await each.run(services, caller, values, stream(request))

    return handle


@asynccontextmanager
async def _room(request: web.Request, each: Route, budget: OctetBudget) -> AsyncIterator[None]:
    """A share of the memory for large messages, held until the answer. Raises: Unavailable."""
    expected = each.body_limit if request.content_length is None else min(request.content_length, each.body_limit)
    if each.body_limit <= BODY_LIMIT or not request.can_read_body or expected <= SMALL_BODY:
        yield
        return
    # As it came, as text or octets, and once more as the message that is made of it.
    async with budget.reserve(3 * expected, BUDGET_SECONDS):
        yield


@web.middleware
class _Outermost:
    """Turns every outcome into an answer with the common headers, and writes one line of log."""

    def __init__(self, settings: ApiSettings) -> None:
        self._origins = frozenset(settings.cors_origins)
        self._meter = CommandMeter("api", (f"{each.method} {each.path}" for each in ROUTES))

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.monotonic()
        identifier = secrets.token_hex(6)
        if self._is_preflight(request):
            response: web.StreamResponse = web.Response(status=204)
        else:
            response = await self._answer(request, handler, identifier)
        self._add_headers(request, response)
        seconds = time.monotonic() - started
        self._meter.done(f"{request.method} {_route_name(request)}", reply_class(response.status), seconds)
        _write_line(request, response, identifier, seconds)
        return response

    async def _answer(self, request: web.Request, handler: Handler, identifier: str) -> web.StreamResponse:
        if not _is_clean_path(request):
            return _framework_answer(request, web.HTTPNotFound())
        try:
            return await handler(request)
        except (ApiError, FrameworkError) as error:
            return json_response(error.body, error.status)
        except web.HTTPException as error:
            return _framework_answer(request, error)
        except DuckmailError as error:
            translated = translate(error, {})
            return json_response(translated.body, translated.status)
        except Exception as error:
            event(_logger, logging.ERROR, "request failed", id=identifier, route=_route_name(request), exc_info=error)
            return json_response({"error": "Internal error", "code": "InternalError"}, 500)

    def _is_preflight(self, request: web.Request) -> bool:
        return (
            request.method == "OPTIONS"
            and self._origin(request) is not None
            and "Access-Control-Request-Method" in request.headers
            and not isinstance(request.match_info.http_exception, web.HTTPNotFound)
        )

    def _origin(self, request: web.Request) -> str | None:
        origin = request.headers.get("Origin")
        return origin if origin and ("*" in self._origins or origin in self._origins) else None

    def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        if response.prepared:
            return  # a stream, which went out with its own
        response.headers["Server"] = "duckmail"
        response.headers["Vary"] = "Origin"
        origin = self._origin(request)
        if origin is None:
            return
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Credentials"] = "true"
        if response.status == 204:
            method = request.headers["Access-Control-Request-Method"]
            response.headers["Access-Control-Allow-Methods"] = f"{method}, OPTIONS"
            response.headers["Access-Control-Allow-Headers"] = _ALLOWED_HEADERS
            response.headers["Access-Control-Max-Age"] = _PREFLIGHT_SECONDS


def _is_clean_path(request: web.Request) -> bool:
    path = request.raw_path.partition("?")[0]
    if _BROKEN_ESCAPE.search(path) or any(len(segment) > MAX_SEGMENT for segment in path.split("/")):
        return False
    try:
        return "\0" not in unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        return False


def _framework_answer(request: web.Request, error: web.HTTPException) -> web.Response:
    if isinstance(error, web.HTTPMethodNotAllowed):
        body: dict[str, object] = {"code": "MethodNotAllowed", "message": f"{request.method} is not allowed"}
        response = json_response(body, 405)
        response.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
        return response
    if isinstance(error, web.HTTPNotFound):
        return json_response({"code": "ResourceNotFound", "message": f"{request.path[:256]} does not exist"}, 404)
    return json_response({"code": "InternalServer", "message": error.reason}, error.status)


def _route_name(request: web.Request) -> str:
    """The route's pattern: a path or query as sent may hold addresses and tokens."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else ""


def _write_line(request: web.Request, response: web.StreamResponse, identifier: str, seconds: float) -> None:
    caller = request.get(_CALLER)
    event(
        _logger,
        logging.INFO if response.status < 500 else logging.WARNING,
        "request",
        id=identifier,
        method=request.method,
        route=_route_name(request),
        status=response.status,
        ms=round(seconds * 1000, 1),
        peer=request.remote or "",
        user=caller.user if caller else "",
        role=caller.role if caller else "",
    )
