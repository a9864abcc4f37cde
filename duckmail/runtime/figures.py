"""What is looked at for a scrape, instead of counted as it happens; and the page that all of it becomes.

The loop only reads numbers that are there already; the databases are asked with a time limit, and at most once a second
however many ask; the page is written in a thread.
"""

import asyncio
import logging
import platform
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from duckmail.errors import DuckmailError
from duckmail.model.health import Health
from duckmail.runtime import metrics
from duckmail.runtime.budget import OctetBudget
from duckmail.runtime.log import event
from duckmail.runtime.tasks import Tasks
from duckmail.runtime.threads import Pool

LAG_SECONDS = 0.1  # between two looks at the loop
HEALTH_SECONDS = 6.0  # more than the check takes at worst: less than the 10 s that Prometheus waits
HEALTH_FRESH_SECONDS = 1.0
QUEUE_SECONDS = 3.0
QUEUE_FRESH_SECONDS = 5.0

_logger = logging.getLogger("duckmail.metrics")

T = TypeVar("T")


class QueueGroup(Protocol):
    """Messages of the outbound queue in one state. `oldest`: when the oldest of them came."""

    @property
    def messages(self) -> int: ...

    @property
    def oldest(self) -> datetime: ...


class Listeners(Protocol):
    def census(self) -> Mapping[tuple[str, bool], int]:
        """Connections now, by the name of their service and whether TLS is in use."""
        ...


class Committer(Protocol):
    @property
    def waiting(self) -> int: ...


class Views(Protocol):
    @property
    def held(self) -> int: ...

    @property
    def unused(self) -> int: ...

    @property
    def unused_octets(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the figures are. `queue`: one query, by the values of `metrics.QUEUE_STATES`, those without messages left
    out; None where there is no queue."""

    listeners: Listeners
    committer: Committer
    views: Views
    budget: OctetBudget
    pools: Sequence[Pool]
    health: Callable[[], Awaitable[Health]]
    queue: Callable[[], Awaitable[Mapping[str, QueueGroup]]] | None = None


class Fresh(Generic[T]):
    """The answer of `ask`, given out for `seconds`; callers meanwhile share one question, and its failure.

    Args:
        ask: raises DuckmailError.
        limit: seconds that it may take.
    """

    def __init__(self, name: str, ask: Callable[[], Awaitable[T]], seconds: float, limit: float) -> None:
        self._name = name
        self._ask = ask
        self._seconds = seconds
        self._limit = limit
        self._lock = asyncio.Lock()
        self._until = 0.0
        self._answer: T | None = None

    async def get(self) -> T | None:
        """None when there was no answer; that is counted."""
        async with self._lock:
            if monotonic() >= self._until:
                self._answer = await self._asked()
                self._until = monotonic() + self._seconds
            return self._answer

    async def _asked(self) -> T | None:
        try:
            async with asyncio.timeout(self._limit):
                return await self._ask()
        except (DuckmailError, TimeoutError) as error:
            metrics.SCRAPE_FAILURES[self._name].inc()
            reason = type(error).__name__
            event(_logger, logging.WARNING, "figures are missing", source=self._name, reason=reason)
        except Exception as error:  # what one source does wrong must not take the other figures away
            metrics.SCRAPE_FAILURES[self._name].inc()
            event(_logger, logging.ERROR, "figures are missing", source=self._name, exc_info=error)
        return None


class Figures:
    """The figures of this process; `async with Figures(...)`: the event loop is watched meanwhile."""

    def __init__(self, sources: Sources, version: str) -> None:
        self._sources = sources
        self._health = Fresh("health", sources.health, HEALTH_FRESH_SECONDS, HEALTH_SECONDS)
        self._queue: Fresh[Mapping[str, QueueGroup]] | None = None
        if sources.queue is not None:
            self._queue = Fresh("queue", sources.queue, QUEUE_FRESH_SECONDS, QUEUE_SECONDS)
        self._tasks = Tasks("metrics")
        self._writer = Writer(metrics.REGISTRY)
        self._version = version

    async def __aenter__(self) -> Self:
        loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
        metrics.BUILD.info({"version": self._version, "python": platform.python_version(), "loop": loop})
        self._tasks.start(watch_lag(), "loop-lag")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tasks.aclose()
        self._writer.close()

    async def page(self, openmetrics: bool) -> bytes:
        """All metrics, as of now, in one of the two text formats."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._ask_databases())
            tasks.create_task(self._ask_queue())
        look_at(self._sources)
        return await self._writer.write(openmetrics)

    async def health(self) -> tuple[bool, Mapping[str, str]]:
        """Whether mail can be served, and in what state each part is.

        Without Redis mail is served, with some delay (P5): all machines share it, and a load balancer that took them
        all out would make of a delay an outage.
        """
        found = await self._health.get()
        if found is None:
            return False, {"mongodb": "no answer in time"}
        redis = "none" if found.redis is None else found.redis or "ok"
        return not found.database, {"mongodb": found.database or "ok", "redis": redis}

    async def _ask_databases(self) -> None:
        found = await self._health.get()
        metrics.DATABASE_UP.labels("mongodb").set(found is not None and not found.database)
        if found is None or found.redis is None:
            metrics.DATABASE_UP.remove("redis")
        else:
            metrics.DATABASE_UP.labels("redis").set(not found.redis)

    async def _ask_queue(self) -> None:
        found = await self._queue.get() if self._queue is not None else None
        if found is None:  # no figure rather than an old one
            metrics.QUEUE_MESSAGES.clear()
            metrics.QUEUE_OLDEST.clear()
            return
        now = datetime.now(UTC)
        for state in metrics.QUEUE_STATES:
            group = found.get(state)
            age = max(0.0, (now - group.oldest).total_seconds()) if group else 0.0
            metrics.QUEUE_MESSAGES.labels(state).set(group.messages if group else 0)
            metrics.QUEUE_OLDEST.labels(state).set(age)


def look_at(sources: Sources) -> None:
    """Sets what this process knows about itself."""
    open_now: Counter[tuple[str, str]] = Counter()
    for (name, tls), count in sources.listeners.census().items():
        open_now[metrics.service(name), metrics.TLS[tls]] += count
    for pair, child in metrics.LISTENED.items():
        child.set(open_now[pair])
    metrics.COMMIT_QUEUE.set(sources.committer.waiting)
    metrics.VIEWS.labels("held").set(sources.views.held)
    metrics.VIEWS.labels("unused").set(sources.views.unused)
    metrics.VIEWS_BYTES.set(sources.views.unused_octets)
    for pool in sources.pools:
        metrics.THREADS_PENDING.labels(pool.name).set(pool.pending)
    metrics.BUDGET.set(sources.budget.limit)
    metrics.BUDGET_USED.set(sources.budget.used)
    metrics.BUDGET_WAITING.set(sources.budget.waiting)


async def watch_lag() -> None:
    """Measures how late the event loop is; until cancelled."""
    while True:
        due = monotonic() + LAG_SECONDS
        await asyncio.sleep(LAG_SECONDS)
        metrics.LOOP_LAG.observe(max(0.0, monotonic() - due))  # uvloop counts in milliseconds, and may be early


class Writer:
    """Writes the page of a registry, in a thread, one at a time: some milliseconds, and as many file descriptors as are
    open to be counted."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._pool = Pool("metrics", 1)

    async def write(self, openmetrics: bool) -> bytes:
        """Raises: Unavailable: too many ask at once."""
        generate = generate_openmetrics if openmetrics else generate_latest
        return bytes(await self._pool.run(lambda: generate(self._registry)))

    def close(self) -> None:
        self._pool.close()
