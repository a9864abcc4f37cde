"""Sources of figures with known values, and reading a page of metrics."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from duckmail.model.health import Health
from duckmail.runtime.budget import OctetBudget
from duckmail.runtime.figures import QueueGroup, Sources

# Sample name and sorted labels -> value.
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@dataclass
class Known:
    """Stands for listeners, committer and views."""

    connections: dict[tuple[str, bool], int] = field(default_factory=dict)
    waiting: int = 0
    held: int = 0
    unused: int = 0
    unused_octets: int = 0

    def census(self) -> Mapping[tuple[str, bool], int]:
        return self.connections


@dataclass
class Group:
    """Messages in one state of the queue."""

    messages: int
    oldest: datetime


def sources(
    known: Known | None = None,
    health: Callable[[], Awaitable[Health]] | None = None,
    queue: Callable[[], Awaitable[Mapping[str, QueueGroup]]] | None = None,
    budget: OctetBudget | None = None,
) -> Sources:
    given = known or Known()

    async def well() -> Health:
        return Health("", "")

    return Sources(given, given, given, budget or OctetBudget(1000), (), health or well, queue)


def read_page(page: bytes, *, openmetrics: bool = False) -> Samples:
    """Every sample, by name and labels; a page that a Prometheus could not read fails here."""
    families = (parse_openmetrics if openmetrics else parse_plain)(page.decode())
    return {
        (each.name, tuple(sorted(each.labels.items()))): each.value for family in families for each in family.samples
    }


def sample(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, tuple(sorted(labels.items()))]
