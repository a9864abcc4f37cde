"""HTTP to servers that somebody else has named: targets of mail, webhooks, images, policies, lists of passwords.

- Every connection goes where `Outward` permits it: the rule is asked about the address that the socket connects to, so
  it holds for redirects, for names that resolve anew, and for numbers in any spelling.
- A request takes at most 10 s with its redirects (what is sent, beside that, as long as its size lets it), an answer
  has at most 1 MiB. URLs may hold secrets: neither errors nor logs have them.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from ssl import SSLContext
from types import TracebackType
from typing import Protocol, Self

from aiohttp import (
    AddrInfoType,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
)
from aiohttp.abc import AbstractResolver, ResolveResult
from multidict import CIMultiDict
from yarl import URL

from duckmail.errors import DuckmailError, Unavailable
from duckmail.runtime.outward import Outward

SECONDS = 10.0  # one request, with its redirects
LARGEST = 1 << 20  # octets of an answer
REDIRECTS = 3
CONNECTIONS = 100  # at one time
SLOWEST = 64 * 1024  # octets a second: what is sent more slowly is given up
_FOLLOWED = frozenset({301, 302, 303, 307, 308})
_REPEATED = frozenset({307, 308})  # RFC 9110 §15.4.8: with the same method and content

Octets = Callable[[], AsyncIterator[bytes]]


class NoAnswer(Unavailable):
    """The server may have what was sent."""


class Resolver(Protocol):
    """The addresses of hosts, from DNS."""

    async def addresses(self, host: str) -> list[str]:
        """At least one address, in the order to try. Raises NotFound, Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """`kind`: its Content-Type without parameters. `body`: as far as it was to be read."""

    status: int
    kind: str = ""
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class _Request:
    """`body`: None for none, of `size` octets. `largest`: octets of the answer that are read. `redirects`: followed."""

    method: str
    headers: Mapping[str, str]
    body: Octets | None = None
    size: int = 0
    largest: int = 0
    redirects: int = REDIRECTS


class Http:
    """`async with Http(...) as http`."""

    def __init__(self, outward: Outward, resolver: Resolver, context: SSLContext, agent: str = "duckmail") -> None:
        """`context`: verifies whom https speaks to. `agent`: how we call ourselves."""
        self._outward = outward
        self._resolver = resolver
        self._context = context
        self._agent = agent
        self._session: ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = TCPConnector(
            resolver=_Resolver(self._resolver),
            use_dns_cache=False,
            socket_factory=self._socket,
            ssl=self._context,
            limit=CONNECTIONS,
            force_close=True,
        )
        self._session = ClientSession(
            connector=connector,
            cookie_jar=DummyCookieJar(),
            timeout=ClientTimeout(),  # ours is around the whole
            trust_env=False,
            auto_decompress=False,  # the limit is of octets that came
            headers={"User-Agent": self._agent, "Accept-Encoding": "identity"},
            requote_redirect_url=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(
        self,
        url: str,
        *,
        largest: int = LARGEST,
        headers: Mapping[str, str] | None = None,
        redirects: int = REDIRECTS,
    ) -> Reply:
        """Raises: Unavailable: no connection that is permitted, no answer in time, or more than `largest` octets."""
        return await self._ask(url, _Request("GET", headers or {}, largest=largest, redirects=redirects))

    async def post(
        self, url: str, body: bytes | Octets, size: int, headers: Mapping[str, str], *, largest: int = 0
    ) -> Reply:
        """Posts `size` octets. `headers`: of a `CIMultiDict` some may come more than once. `largest`: octets of the
        answer that are read, 0 for nothing but its status. Raises: Unavailable, NoAnswer."""
        content = body if callable(body) else _once(body)
        sent = CIMultiDict(headers.items())
        sent["Content-Length"] = str(size)
        return await self._ask(url, _Request("POST", sent, content, size, largest))

    async def _ask(self, url: str, request: _Request) -> Reply:
        target = _parsed(url)
        try:
            async with asyncio.timeout(SECONDS + request.size / SLOWEST):
                return await self._followed(target, request)
        except TimeoutError as error:
            raise NoAnswer("No answer in time", host=target.host) from error
        except (ClientError, OSError, ValueError) as error:
            # Its text may hold the URL.
            raise Unavailable("No connection", host=target.host, error=type(error).__name__) from None

    async def _followed(self, target: URL, request: _Request) -> Reply:
        """With its redirects."""
        for _ in range(request.redirects + 1):
            response = await self._sent(target, request)
            try:
                onward = _onward(response, request.method, target)
                if onward is None:
                    return await _read(response, request.largest)
            finally:
                response.close()
            if onward.origin() != target.origin():
                kept = ((name, value) for name, value in request.headers.items() if name != "Authorization")
                request = replace(request, headers=CIMultiDict(kept))
            target = onward
        raise Unavailable("Too many redirects", host=target.host)

    async def _sent(self, url: URL, request: _Request) -> ClientResponse:
        if self._session is None:
            raise TypeError("not opened")
        body = request.body() if request.body is not None else None
        return await self._session.request(
            request.method, url, headers=request.headers, data=body, allow_redirects=False
        )  # fmt: skip

    def _socket(self, info: AddrInfoType) -> socket.socket:
        """Of each connection, just before it is made to the address in `info`."""
        family, kind, protocol, _, address = info
        host, port = str(address[0]), int(address[1])
        if not self._outward.permits(host, port):
            raise PermissionError("the address is not in the public Internet")
        return socket.socket(family, kind, protocol)


class _Resolver(AbstractResolver):
    """As mail does it: by c-ares, which holds up nobody else."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        try:
            found = await self._resolver.addresses(host)
        except DuckmailError as error:
            raise OSError(error.text) from None
        return [_result(host, address, port) for address in found]

    async def close(self) -> None:
        pass  # it belongs to who gave it


def _result(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    return ResolveResult(
        hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST
    )  # fmt: skip


def _once(body: bytes) -> Octets:
    async def pieces() -> AsyncIterator[bytes]:
        yield body

    return pieces


def _parsed(url: str) -> URL:
    """Raises: Unavailable: no URL of HTTP."""
    try:
        parsed = URL(url)
        if parsed.scheme in ("http", "https") and parsed.host:
            return parsed.with_fragment(None)
    except ValueError:
        pass
    raise Unavailable("No URL that can be asked")


def _onward(response: ClientResponse, method: str, url: URL) -> URL | None:
    """Where a redirect leads that is followed; None for an answer. A message never turns into a question without one.

    Raises: ValueError: nowhere.
    """
    where = response.headers.get("Location", "")
    if response.status not in (_FOLLOWED if method == "GET" else _REPEATED) or not where:
        return None
    onward = url.join(URL(where))
    # What was asked for by https is not told to who listens on the way.
    if not onward.host or onward.scheme not in ("https", url.scheme) or onward.scheme not in ("http", "https"):
        raise ValueError("a redirect to nowhere")
    return onward.with_fragment(None)


async def _read(response: ClientResponse, largest: int) -> Reply:
    """Raises: Unavailable: it is larger."""
    body = bytearray()
    if largest:
        async for piece in response.content.iter_chunked(64 * 1024):
            body += piece
            if len(body) > largest:
                raise Unavailable("The answer is too large")
    return Reply(response.status, response.content_type.lower(), bytes(body))
