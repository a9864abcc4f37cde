"""The figures of several worker processes on one page, each sample with the label `worker`.

Their parent serves this. Each worker has a listener of its own for it, a unix socket that no one else can reach. What
belongs to a worker, such as its memory and the lag of its loop, stays apart, and what is counted is added up by who
reads: a worker that was started again begins at 0, as every counter may.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self

import orjson
from aiohttp import ClientError, ClientSession, ClientTimeout, UnixConnector
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from duckmail.runtime.figures import Writer
from duckmail.runtime.log import event

SECONDS = 8.0  # for the answer of a worker: less than the 10 s that Prometheus waits
LABEL, PARENT = "worker", "parent"
WORKER_UP = "duckmail_worker_up"

_logger = logging.getLogger("duckmail.metrics")


class Workers:
    """What `api.metrics` serves for all workers; `async with Workers(paths)`.

    Args:
        paths: of the unix sockets, by the number of the worker.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._sessions: list[ClientSession] = []
        self._parent = CollectorRegistry()
        ProcessCollector(registry=self._parent)
        self._pages = _Pages()
        registry = CollectorRegistry()
        registry.register(self._pages)
        self._writer = Writer(registry)
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        timeout = ClientTimeout(total=SECONDS)
        # A connection carries one request there; a proxy named in the environment is not for these.
        self._sessions = [
            ClientSession(connector=UnixConnector(path, force_close=True), timeout=timeout, trust_env=False)
            for path in self._paths
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in self._sessions:
            await session.close()
        self._writer.close()

    async def page(self, openmetrics: bool) -> bytes:
        async with self._turn:
            found = await asyncio.gather(*(self._ask(number, "/metrics") for number in range(len(self._sessions))))
            pages = {str(number): answer[1] for number, answer in enumerate(found) if answer and answer[0] == 200}
            pages[PARENT] = generate_latest(self._parent)
            self._pages.show(pages, [str(number) for number in range(len(self._sessions))])
            return await self._writer.write(openmetrics)

    async def health(self) -> tuple[bool, Mapping[str, str]]:
        """They accept on the same sockets, so one that can serve is enough."""
        found = await asyncio.gather(*(self._ask(number, "/health") for number in range(len(self._sessions))))
        parts: dict[str, str] = {}
        for number, answer in enumerate(found):
            parts[f"worker-{number}"] = _status(answer[1]) if answer else "no answer"
        return any(answer is not None and answer[0] == 200 for answer in found), parts

    async def _ask(self, number: int, path: str) -> tuple[int, bytes] | None:
        """Status and body; None when it does not answer."""
        try:
            async with self._sessions[number].get(f"http://worker{path}") as response:
                return response.status, await response.read()
        except (ClientError, OSError, TimeoutError) as error:
            event(_logger, logging.WARNING, "no figures of a worker", worker=number, reason=type(error).__name__)
            return None


def _status(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["status"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "unknown"


class _Pages(Collector):
    """The pages of the processes, as one."""

    def __init__(self) -> None:
        self._pages: Mapping[str, bytes] = {}
        self._workers: Sequence[str] = ()

    def show(self, pages: Mapping[str, bytes], workers: Sequence[str]) -> None:
        """`pages`: in the plain text format, by the value of the label; of `workers`, those that answered."""
        self._pages, self._workers = pages, workers

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is, is known when it is there."""
        return ()

    def collect(self) -> Iterable[Metric]:
        up = GaugeMetricFamily(WORKER_UP, "1 when the worker answers, else 0.", labels=[LABEL])
        for worker in self._workers:
            up.add_metric([worker], float(worker in self._pages))
        return [up, *merged(self._pages)]


def merged(pages: Mapping[str, bytes]) -> list[Metric]:
    """The metrics of pages in the plain text format, each once, its samples labelled with the key of their page."""
    found: dict[str, Metric] = {}
    for worker, page in pages.items():
        for family in text_string_to_metric_families(page.decode()):
            metric = found.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            metric.samples += [Sample(each.name, {**each.labels, LABEL: worker}, each.value) for each in family.samples]
    return list(found.values())
