"""What is counted: labels that no client chooses, figures looked at for a scrape, and what documents say of them."""

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric

from api.workers import WORKER_UP, merged
from duckmail.errors import Unavailable
from duckmail.model.health import Health
from duckmail.runtime import metrics
from duckmail.runtime.budget import OctetBudget
from duckmail.runtime.figures import Figures, Fresh, watch_lag
from duckmail.runtime.tasks import Tasks
from tests.support.figures import Group, Known, read_page, sample, sources

ROOT = Path(__file__).parents[2]
OURS = "duckmail_"
VERSION = "1.2.3"


def families() -> Iterator[Metric]:
    return (family for family in metrics.REGISTRY.collect() if family.name.startswith(OURS))


def value(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


# Names and labels


def test_every_label_value_is_a_stated_one() -> None:
    for family in families():
        stated = metrics.STATED.get(family.name, metrics.STATED.get(f"{family.name}_total", {}))
        for each in family.samples:
            labels = {name: text for name, text in each.labels.items() if name != "le"}
            if family.name == "duckmail_build":
                continue
            assert set(labels) == set(stated), family.name
            for name, text in labels.items():
                values = stated[name]
                assert values is None or text in values, (family.name, name, text)


def test_what_may_happen_is_there_as_nothing_before() -> None:
    """The first event is an increase, which an alert sees."""
    there = {(each.name, *sorted(each.labels.items())) for family in families() for each in family.samples}
    for name, labels in metrics.STATED.items():
        if not name.endswith("_total") or len(labels) > 1:
            continue
        for label, values in labels.items():
            assert values is not None
            assert {(name, (label, text)) for text in values} <= there
    assert len(metrics.LOGINS) == len(metrics.LOGIN_PROTOCOLS) * len(metrics.LOGIN_RESULTS)


def test_every_metric_has_help_and_a_base_unit() -> None:
    for family in families():
        assert family.documentation.endswith("."), family.name
        assert '"' not in family.documentation, family.name  # the parser of the plain format takes quotes for names
        assert not re.search(r"_(ms|octets|minutes)\b", family.name), family.name


# Commands


def test_commands_of_clients_add_no_series() -> None:
    meter = metrics.CommandMeter("imap", ["NOOP", "IDLE"], untimed=["IDLE"])
    before = value("duckmail_commands_total", protocol="imap", command="unknown", result="bad")
    series = 0
    for number in range(500):
        meter.done(f"anna{number}@example.org", "BAD", 0.001)
        meter.done("NOOP", f"anna{number}@example.org", 0.001)
        if number == 0:
            series = sum(len(family.samples) for family in families())
    assert sum(len(family.samples) for family in families()) == series
    assert len(meter._counters) == 0  # what clients choose is not remembered either
    assert value("duckmail_commands_total", protocol="imap", command="unknown", result="bad") == before + 500


def test_commands_are_counted_by_name_and_result() -> None:
    meter = metrics.CommandMeter("imap", ["NOOP", "IDLE"], untimed=["IDLE"])
    noop = value("duckmail_commands_total", protocol="imap", command="NOOP", result="ok")
    idle = value("duckmail_commands_total", protocol="imap", command="IDLE", result="ok")
    timed = value("duckmail_command_seconds_count", protocol="imap")
    seconds = value("duckmail_command_seconds_sum", protocol="imap")
    meter.done("NOOP", "OK", 0.25)
    meter.done("NOOP", "OK", 0.25)
    meter.done("IDLE", "OK", 1000.0)
    assert value("duckmail_commands_total", protocol="imap", command="NOOP", result="ok") == noop + 2
    assert value("duckmail_commands_total", protocol="imap", command="IDLE", result="ok") == idle + 1
    assert value("duckmail_command_seconds_count", protocol="imap") == timed + 2
    assert value("duckmail_command_seconds_sum", protocol="imap") == pytest.approx(seconds + 0.5)


def test_reply_classes() -> None:
    for code in range(-100, 1100):
        wanted = f"{str(code)[0]}xx" if 200 <= code <= 599 else "other"
        assert metrics.reply_class(code) == wanted
        assert wanted in metrics.RESULTS


@pytest.mark.parametrize(
    ("protocol", "counted"),
    [
        pytest.param("imap", "imap", id="ours"),
        pytest.param("API", "api", id="the-api's-default"),
        pytest.param("anna@example.org", "api", id="chosen-by-a-caller-of-the-api"),
    ],
)
def test_logins_are_counted_under_our_names(protocol: str, counted: str) -> None:
    before = value("duckmail_logins_total", protocol=counted, result="failed")
    metrics.login(protocol, "failed")
    assert value("duckmail_logins_total", protocol=counted, result="failed") == before + 1


def test_a_listener_of_another_name_is_other() -> None:
    assert [metrics.service(name) for name in ("imaps", "anna@example.org")] == ["imaps", "other"]


# Looked at


async def test_figures_of_the_process() -> None:
    known = Known({("imap", True): 3, ("imap", False): 1, ("strange", False): 2}, 7, held=5, unused=6, unused_octets=99)
    budget = OctetBudget(1000)

    async def queue() -> dict[str, Group]:
        return {"due": Group(4, datetime.now(UTC) - timedelta(seconds=90))}

    async with Figures(sources(known, queue=queue, budget=budget), VERSION) as figures, budget.reserve(300, 1):
        found = read_page(await figures.page(openmetrics=False))
        known.connections = {}
        later = read_page(await figures.page(openmetrics=False))
    assert sample(found, "duckmail_connections", service="imap", tls="yes") == 3
    assert sample(found, "duckmail_connections", service="imap", tls="no") == 1
    assert sample(found, "duckmail_connections", service="other", tls="no") == 2
    assert sample(later, "duckmail_connections", service="imap", tls="yes") == 0
    assert sample(found, "duckmail_commit_queue") == 7
    assert sample(found, "duckmail_views", state="held") == 5
    assert sample(found, "duckmail_views", state="unused") == 6
    assert sample(found, "duckmail_views_unused_bytes") == 99
    assert sample(found, "duckmail_octet_budget_bytes") == 1000
    assert sample(found, "duckmail_octet_budget_used_bytes") == 300
    assert sample(found, "duckmail_queue_messages", state="due") == 4
    assert sample(found, "duckmail_queue_messages", state="deferred") == 0
    assert sample(found, "duckmail_queue_oldest_seconds", state="due") == pytest.approx(90, abs=5)
    assert sample(found, "process_resident_memory_bytes") > 1_000_000
    assert any(name == "duckmail_build_info" and ("version", VERSION) in labels for name, labels in found)


async def test_both_formats_hold_the_same() -> None:
    async with Figures(sources(), VERSION) as figures:
        plain, openmetrics = await figures.page(openmetrics=False), await figures.page(openmetrics=True)
    assert openmetrics.endswith(b"# EOF\n")
    assert set(read_page(plain)) == set(read_page(openmetrics, openmetrics=True))


@pytest.mark.parametrize(
    ("health", "figures_wanted", "serving"),
    [
        pytest.param(Health("", ""), {"mongodb": 1, "redis": 1}, True, id="well"),
        pytest.param(Health("", None), {"mongodb": 1}, True, id="no-redis-configured"),
        pytest.param(Health("", "Redis is down"), {"mongodb": 1, "redis": 0}, True, id="redis-is-expendable"),
        pytest.param(Health("DB is down", ""), {"mongodb": 0, "redis": 1}, False, id="mongodb-down"),
    ],
)
async def test_databases(health: Health, figures_wanted: dict[str, int], serving: bool) -> None:
    async def look() -> Health:
        return health

    async with Figures(sources(health=look), VERSION) as figures:
        found = read_page(await figures.page(openmetrics=False))
        said, parts = await figures.health()
    up = {dict(labels)["database"]: number for (name, labels), number in found.items() if name.endswith("database_up")}
    assert up == figures_wanted
    assert said is serving
    assert parts["mongodb"] == (health.database or "ok")


async def test_a_source_that_fails_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = True

    async def queue() -> dict[str, Group]:
        if broken:
            raise ZeroDivisionError
        return {}

    monkeypatch.setattr("duckmail.runtime.figures.QUEUE_FRESH_SECONDS", 0.0)
    async with Figures(sources(queue=queue), VERSION) as figures:
        before = value("duckmail_scrape_failures_total", source="queue")
        found = read_page(await figures.page(openmetrics=False))
        assert sample(found, "duckmail_scrape_failures_total", source="queue") == before + 1
        assert not any(name == "duckmail_queue_messages" for name, _ in found), "an old figure, or none that is true"
        assert sample(found, "duckmail_database_up", database="mongodb") == 1
        broken = False
        found = read_page(await figures.page(openmetrics=False))
        assert sample(found, "duckmail_queue_messages", state="due") == 0


async def test_callers_share_a_question_and_its_failure() -> None:
    asked = 0

    async def ask() -> int:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.05)
        if asked == 1:
            raise Unavailable
        return asked

    fresh = Fresh("health", ask, seconds=0.2, limit=30)
    assert await asyncio.gather(*(fresh.get() for _ in range(20))) == [None] * 20
    await asyncio.sleep(0.25)
    assert await asyncio.gather(*(fresh.get() for _ in range(20))) == [2] * 20


async def test_a_question_has_a_time_limit() -> None:
    fresh = Fresh("health", asyncio.Event().wait, seconds=1, limit=0.05)
    assert await fresh.get() is None  # nobody will ever answer


async def test_lag_of_the_loop() -> None:
    def late() -> float:
        return value("duckmail_loop_lag_seconds_count") - value("duckmail_loop_lag_seconds_bucket", le="0.1")

    before = late()
    async with Tasks("test") as tasks:
        tasks.start(watch_lag(), "lag")
        await asyncio.sleep(0.05)
        time.sleep(0.4)  # what nothing of ours may do
        await asyncio.sleep(0.05)
    assert late() > before


# Workers


def test_pages_of_workers_become_one() -> None:
    page = (
        '# HELP a_total What.\n# TYPE a_total counter\na_total{{x="y"}} {0}\n'
        '# HELP h Time.\n# TYPE h histogram\nh_bucket{{le="+Inf"}} {0}\nh_count {0}\nh_sum {0}\n'
    )
    found = {family.name: family for family in merged({"0": page.format(1).encode(), "1": page.format(2).encode()})}
    assert {name: family.type for name, family in found.items()} == {"a": "counter", "h": "histogram"}
    assert [(each.name, each.labels, each.value) for each in found["a"].samples] == [
        ("a_total", {"x": "y", "worker": "0"}, 1),
        ("a_total", {"x": "y", "worker": "1"}, 2),
    ]
    assert len(found["h"].samples) == 6


# Documents

NAME = re.compile(r"\b(?:duckmail|process|python)_[a-z_]+\b")
SELECTOR = re.compile(r"\b((?:duckmail|process|python)_[a-z_]+)\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
# Prometheus and Grafana add these to what we expose.
ADDED = {"job", "instance", "worker", "le"}


def known_names() -> set[str]:
    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "info": ["_info"]}
    return {WORKER_UP} | {
        family.name + suffix for family in metrics.REGISTRY.collect() for suffix in suffixes.get(family.type, [""])
    }


def dashboard_queries() -> list[str]:
    dashboard = json.loads((ROOT / "config/grafana-dashboard.json").read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]


def alert_queries() -> list[str]:
    text = (ROOT / "config/prometheus-alerts.yml").read_text()
    return re.findall(r"^ +expr: (.+)$", text, re.MULTILINE)


@pytest.mark.parametrize(
    "queries", [pytest.param(dashboard_queries, id="dashboard"), pytest.param(alert_queries, id="alerts")]
)
def test_queries_name_what_exists(queries: Callable[[], list[str]]) -> None:
    found = queries()
    assert len(found) > 10
    for query in found:
        assert set(NAME.findall(query)) <= known_names(), query
        assert query.count("(") == query.count(")"), query
        for name, matchers in SELECTOR.findall(query):
            family = re.sub(r"_(bucket|sum|count|info)$", "", name)
            stated = metrics.STATED.get(name, metrics.STATED.get(family, {}))
            for label, wanted in MATCHER.findall(matchers):
                assert label in ADDED or label in stated, query
                values = stated.get(label)
                if values is not None:
                    assert set(wanted.split("|")) <= values, query


def test_the_dashboard_shows_every_metric_of_ours() -> None:
    """What nobody looks at need not be counted."""
    shown = {name for query in (*dashboard_queries(), *alert_queries()) for name in NAME.findall(query)}
    missing = {
        family.name
        for family in families()
        if not any(name == family.name or name.startswith(f"{family.name}_") for name in shown)
    }
    assert missing == set()


def test_every_metric_is_described() -> None:
    described = set(re.findall(r"^\| `(duckmail_[a-z_]+)`", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE))
    ours = {name for name in known_names() if name.startswith(OURS)}
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in ours} == described
