"""The listener of Prometheus: two paths, two formats, health that a load balancer can believe."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import ClientSession
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST

from api import metrics as module
from api.metrics import MetricsServer, Pages, prefers_openmetrics, start_metrics
from api.workers import Workers
from duckmail.errors import Unavailable
from duckmail.model.health import Health
from duckmail.runtime import metrics
from duckmail.runtime.figures import Figures
from protocols.net.sockets import listen
from tests.support.figures import Samples, read_page, sample, sources
from tests.support.net import on_both_loops

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;"
    "q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)


@contextlib.asynccontextmanager
async def serving(pages: Pages) -> AsyncIterator[tuple[MetricsServer, str]]:
    """A server and its URL."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        server = await start_metrics(pages, [sock])
        try:
            yield server, f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            await server.aclose()


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession() as opened:
        yield opened


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        pytest.param(PROMETHEUS, True, id="prometheus-3"),
        pytest.param("application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", True,
                     id="prometheus-2"),
        pytest.param("application/openmetrics-text", True, id="only-openmetrics"),
        pytest.param("text/plain;q=0.9, application/openmetrics-text;q=0.4", False, id="rather-plain"),
        pytest.param("application/openmetrics-text;q=0, */*", False, id="anything-but-openmetrics"),
        pytest.param("*/*", False, id="curl"),
        pytest.param("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", False, id="browser"),
        pytest.param("", False, id="none"),
        pytest.param("application/openmetrics-text;q=nan", False, id="weight-is-no-number"),
        pytest.param("application/openmetrics-text;q=high", False, id="weight-is-a-word"),
        pytest.param(",;,=;q,", False, id="garbage"),
        pytest.param("x," * 1000 + "application/openmetrics-text", False, id="too-many"),
    ],
)  # fmt: skip
async def test_format_by_accept(session: ClientSession, accept: str, openmetrics: bool) -> None:
    assert prefers_openmetrics(accept) is openmetrics
    async with (
        serving(Figures(sources(), "1")) as (_, url),
        session.get(f"{url}/metrics", headers={"Accept": accept}) as response,
    ):
        assert response.status == 200
        page = await response.read()
    assert response.headers["Content-Type"] == (CONTENT_TYPE_LATEST if openmetrics else CONTENT_TYPE_PLAIN_0_0_4)
    assert sample(read_page(page, openmetrics=openmetrics), "duckmail_database_up", database="mongodb") == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        pytest.param("GET", "/metrics?name[]=process_open_fds", 200, id="a-query-is-nothing"),
        pytest.param("HEAD", "/metrics", 200, id="head"),
        pytest.param("POST", "/metrics", 405, id="post"),
        pytest.param("GET", "/", 404, id="root"),
        pytest.param("GET", "/users", 404, id="the-api-is-elsewhere"),
        pytest.param("GET", "/metrics/", 404, id="slash"),
        pytest.param("GET", "/" + "a" * 5000, 400, id="long"),
    ],
)
async def test_nothing_else(session: ClientSession, method: str, path: str, status: int) -> None:
    async with serving(Figures(sources(), "1")) as (_, url), session.request(method, url + path) as response:
        assert response.status == status
        assert status == 400 or "aiohttp" not in str(response.headers) + await response.text()


@pytest.mark.parametrize(
    ("health", "status", "said"),
    [
        pytest.param(Health("", ""), 200, {"status": "ok", "mongodb": "ok", "redis": "ok"}, id="well"),
        pytest.param(Health("", None), 200, {"status": "ok", "mongodb": "ok", "redis": "none"}, id="without-redis"),
        pytest.param(
            Health("", "Redis is down"),
            200,
            {"status": "ok", "mongodb": "ok", "redis": "Redis is down"},
            id="redis-down-is-a-delay",
        ),
        pytest.param(
            Health("DB is down", ""), 503, {"status": "failing", "mongodb": "DB is down", "redis": "ok"}, id="db-down"
        ),
    ],
)
async def test_health(session: ClientSession, health: Health, status: int, said: dict[str, str]) -> None:
    async def look() -> Health:
        return health

    async with serving(Figures(sources(health=look), "1")) as (server, url):
        async with session.get(f"{url}/health") as response:
            assert (response.status, await response.json()) == (status, said)
        server.stopping()
        async with session.get(f"{url}/health") as response:
            assert (response.status, (await response.json())["status"]) == (503, "stopping")


async def test_health_that_cannot_be_had_is_bad(session: ClientSession) -> None:
    async def look() -> Health:
        raise Unavailable

    async with serving(Figures(sources(health=look), "1")) as (_, url):
        async with session.get(f"{url}/health") as response:
            assert response.status == 503
        async with session.get(f"{url}/metrics") as response:
            assert response.status == 200
            assert sample(read_page(await response.read()), "duckmail_database_up", database="mongodb") == 0


@on_both_loops
async def test_a_silent_client_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECTION_SECONDS", 0.1)
    async with serving(Figures(sources(), "1")) as (_, url):
        reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
        async with asyncio.timeout(40):  # of itself it stays open
            assert await reader.read() == b""
        writer.close()


async def test_connections_are_few_and_brief(session: ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECTION_SECONDS", 0.3)
    async with serving(Figures(sources(), "1")) as (_, url), contextlib.AsyncExitStack() as stack:
        host, port = url.removeprefix("http://").split(":")
        readers = []
        for _ in range(module.CONNECTIONS):
            reader, writer = await asyncio.open_connection(host, int(port))
            stack.callback(writer.close)
            writer.write(b"GET /metrics HT")
            readers.append(reader)
        async with session.get(f"{url}/metrics") as response:
            assert response.status == 503
        async with asyncio.timeout(40):  # a slow client goes
            for reader in readers:
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
        async with session.get(f"{url}/metrics") as response:
            assert response.status == 200
            assert response.headers["Connection"] == "close"


# Several workers


@contextlib.asynccontextmanager
async def worker(path: Path, pages: Pages) -> AsyncIterator[MetricsServer]:
    listening = listen(f"unix:{path},mode=0600")[0]
    server = await start_metrics(pages, [listening.sock])
    try:
        yield server
    finally:
        await server.aclose()
        listening.close()


async def get(session: ClientSession, url: str) -> Samples:
    async with session.get(url) as response:
        assert response.status == 200
        return read_page(await response.read())


@pytest.fixture
def counted() -> Callable[[Samples, str], float]:
    def count(samples: Samples, number: str) -> float:
        return sample(samples, "duckmail_deliveries_total", verdict="stored", worker=number)

    return count


async def test_workers_are_told_apart(
    session: ClientSession, tmp_path: Path, counted: Callable[[Samples, str], float]
) -> None:
    paths = [tmp_path / "0.sock", tmp_path / "1.sock"]
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(worker(paths[0], Figures(sources(), "1")))
        _, url = await stack.enter_async_context(serving(Workers([str(path) for path in paths])))
        metrics.DELIVERIES["stored"].inc()
        found = await get(session, f"{url}/metrics")
        assert counted(found, "0") >= 1
        assert [sample(found, "duckmail_worker_up", worker=number) for number in "01"] == [1, 0]
        assert sample(found, "process_resident_memory_bytes", worker="parent") > 1_000_000
        async with session.get(f"{url}/health") as response:
            assert (response.status, (await response.json())["worker-1"]) == (200, "no answer")
        async with worker(paths[1], Figures(sources(), "1")):
            found = await get(session, f"{url}/metrics")
            assert [sample(found, "duckmail_worker_up", worker=number) for number in "01"] == [1, 1]
            assert counted(found, "1") == counted(found, "0")
            async with session.get(f"{url}/metrics", headers={"Accept": PROMETHEUS}) as response:
                assert set(read_page(await response.read(), openmetrics=True)) == set(found)
        first.stopping()
        async with session.get(f"{url}/health") as response:
            assert response.status == 503, "none of them can serve"
