"""HTTP to whom somebody else has named: where it connects, what it follows, how much it reads."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from duckmail.clients import http as client
from duckmail.clients.http import Http
from duckmail.errors import NotFound, Unavailable
from duckmail.runtime.outward import Outward

CONTEXT = ssl.create_default_context()


@dataclass
class Names:
    """A name server; each question about a name gets its next answer, the last one for ever."""

    known: dict[str, list[list[str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def addresses(self, host: str) -> list[str]:
        self.asked.append(host)
        answers = self.known.get(host)
        if not answers:
            raise NotFound(f"{host} has no address")
        return answers.pop(0) if len(answers) > 1 else answers[0]


@dataclass
class Site:
    """An HTTP server on loopback. `seen`: method, path and body of each request."""

    port: int = 0
    seen: list[tuple[str, str, bytes]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answer: Callable[[web.Request], web.StreamResponse] = lambda _: web.Response(text="fine")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.method, request.path_qs, await request.read()))
        self.headers.append(dict(request.headers))
        return self.answer(request)

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


@asynccontextmanager
async def site(host: str = "127.0.0.1") -> AsyncIterator[Site]:
    found = Site()
    runner = web.ServerRunner(web.Server(found.handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, host, 0).start()
    found.port = runner.addresses[0][1]
    try:
        yield found
    finally:
        await runner.cleanup()


@asynccontextmanager
async def opened(names: Names | None = None, *allow: str) -> AsyncIterator[Http]:
    async with Http(Outward(allow), names or Names(), CONTEXT, "duckmail/test") as http:
        yield http


LOOPBACK = "127.0.0.0/8"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "0.0.0.0",
        "localhost",
        "here.test",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1.",
        "①②⑦.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "[fe80::1]",
        "224.0.0.1",
        "mapped.test",
    ],
)
async def test_what_only_we_reach_is_refused(host: str) -> None:
    names = Names(
        {
            "here.test": [["127.0.0.1"]],
            "mapped.test": [["::ffff:127.0.0.1"]],
            **{spelled: [["127.0.0.1"]] for spelled in ("localhost", "2130706433", "0x7f000001", "0x7f.1", "127.1")},
        }
    )
    async with site() as server, opened(names) as http:
        with pytest.raises(Unavailable) as caught:
            await http.get(server.url(host=host))
    assert server.seen == []
    assert caught.value.temporary


async def test_networks_can_be_allowed() -> None:
    async with site() as server, opened(Names({"here.test": [["127.0.0.1"]]}), LOOPBACK) as http:
        reply = await http.get(server.url("/a?b=c", host="here.test"))
        mapped = await http.get(server.url(host="[::ffff:127.0.0.1]"))
    assert (reply.status, reply.kind, reply.body) == (200, "text/plain", b"fine")
    assert mapped.status == 200
    assert server.seen[0] == ("GET", "/a?b=c", b"")
    assert (server.headers[0]["User-Agent"], server.headers[0]["Accept-Encoding"]) == ("duckmail/test", "identity")


async def test_a_name_that_changes_is_asked_for_once_and_checked_where_it_leads() -> None:
    """DNS rebinding: the address that was checked is the one that is connected to."""
    names = Names({"both.test": [["127.0.0.2"], ["127.0.0.1"]]})
    async with site() as server, opened(names, "127.0.0.2") as http:
        with pytest.raises(Unavailable):  # nobody listens on the one that is allowed
            await http.get(server.url(host="both.test"))
        assert names.asked == ["both.test"]
        with pytest.raises(Unavailable):
            await http.get(server.url(host="both.test"))
    assert server.seen == []


async def test_of_several_addresses_only_permitted_ones_are_tried() -> None:
    async with (
        site("127.0.0.2") as server,
        opened(Names({"x.test": [["127.0.0.1", "127.0.0.2"]]}), "127.0.0.2") as http,
    ):
        assert (await http.get(server.url(host="x.test"))).status == 200


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_checked_again(status: int) -> None:
    async with site("127.0.0.2") as inner, site("127.0.0.3") as outer, opened(None, "127.0.0.3") as http:
        outer.answer = lambda _: web.Response(status=status, headers={"Location": inner.url(host="127.0.0.2")})
        with pytest.raises(Unavailable):
            await http.get(outer.url(host="127.0.0.3"))
        assert (inner.seen, len(outer.seen)) == ([], 1)


@pytest.mark.parametrize("where", ["file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1:70/"], ids=str)
async def test_redirects_lead_to_http_alone(where: str) -> None:
    async with site() as server, opened(None, LOOPBACK) as http:
        server.answer = lambda _: web.Response(status=302, headers={"Location": where})
        with pytest.raises(Unavailable):
            await http.get(server.url())
        assert len(server.seen) == 1


async def test_redirects_have_an_end() -> None:
    async with site() as server, opened(None, LOOPBACK) as http:
        server.answer = lambda _: web.Response(status=302, headers={"Location": "/again"})
        with pytest.raises(Unavailable, match="redirects"):
            await http.get(server.url())
        assert len(server.seen) == client.REDIRECTS + 1


async def test_a_post_is_posted_again_or_not_at_all() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async with site() as server, opened(None, LOOPBACK) as http:
        server.answer = lambda request: (
            web.Response(status=int(request.path[1:]), headers={"Location": "/to"})
            if request.path != "/to"
            else web.Response(text="ok")
        )
        statuses = [
            (await http.post(server.url(path), pieces, 6, {"Content-Type": "a/b"})).status for path in ("/308", "/302")
        ]
    assert statuses == [200, 302]
    assert server.seen == [("POST", "/308", b"onetwo"), ("POST", "/to", b"onetwo"), ("POST", "/302", b"onetwo")]
    assert server.headers[1]["Content-Length"] == "6"


async def test_an_answer_has_a_limit() -> None:
    async with site() as server, opened(None, LOOPBACK) as http:
        server.answer = lambda _: web.Response(body=b"x" * 1001)
        assert len((await http.get(server.url(), largest=1001)).body) == 1001
        with pytest.raises(Unavailable, match="large"):
            await http.get(server.url(), largest=1000)


async def test_a_server_that_says_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "SECONDS", 0.2)
    closed = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass
        closed.set()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server, opened(None, LOOPBACK) as http:
        with pytest.raises(Unavailable, match="in time"):
            await http.get(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        await asyncio.wait_for(closed.wait(), 40)


@pytest.mark.parametrize(
    "url", ["", "x", "ftp://a.test/", "http://", "http://[::1", "http:///x", "http://a.test:99999/"]
)
async def test_what_is_no_url(url: str) -> None:
    async with opened() as http:
        with pytest.raises(Unavailable):
            await http.get(url)


async def test_errors_do_not_tell_the_url() -> None:
    async with opened(Names({"h.test": [["127.0.0.1"]]})) as http:
        with pytest.raises(Unavailable) as caught:
            await http.get("http://user:secret@h.test/hidden?token=secret")
    assert "secret" not in f"{caught.value!r} {caught.value.fields}"


async def test_a_login_in_the_url_is_sent_to_its_server_alone() -> None:
    async with site() as one, site() as other, opened(None, LOOPBACK) as http:
        one.answer = lambda _: web.Response(status=307, headers={"Location": other.url()})
        await http.get(f"http://user:pass@127.0.0.1:{one.port}/")
    assert one.headers[0]["Authorization"] == "Basic dXNlcjpwYXNz"
    assert "Authorization" not in other.headers[0]
