"""The results for people: one table, and the project's targets beside what was measured."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.runner import Measured
from bench.work.searching import GOALS

_HEADINGS = ("work", "server", "rate/s", "p50 ms", "p95 ms", "p99 ms", "CPU ms", "database ms", "client ms", "others")


def table(results: Sequence[Measured]) -> str:
    """Rate: of the best run. CPU: the least milliseconds an operation; "others": cores that others used meanwhile."""
    rows: list[tuple[str, ...]] = [_HEADINGS]
    previous = ""
    for result in results:
        title = result.work.title if result.work.title != previous else ""
        previous = result.work.title
        rows.append((title, *_row(result)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    return "\n".join(_line(row, widths) for row in rows)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.ljust(width) if column < 2 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def _row(result: Measured) -> tuple[str, ...]:
    if not result.samples:
        return (result.server, "failed", *[""] * 7)
    latencies = [f"{1000 * value:.1f}" if (value := result.latency(share)) else "" for share in (0.5, 0.95, 0.99)]
    if result.octets:
        latencies = [f"{result.octets / 1024:.0f} KB", "", ""]
    processor = [
        result.per_operation(lambda cpu: cpu.server),
        result.per_operation(lambda cpu: cpu.database),
        result.per_operation(lambda cpu: cpu.client),
    ]
    others = min(sample.cpu.others / sample.seconds for sample in result.samples)
    return (
        result.server,
        f"{result.rate:,.0f}" if result.rate >= 10 else f"{result.rate:.2f}",
        *latencies,
        *(f"{1000 * seconds:.3f}" for seconds in processor),
        f"{others:.2f}",
    )


@dataclass(frozen=True, slots=True)
class Target:
    """What the project promises, and what was measured. `met` None: it cannot be said in this run."""

    text: str
    found: str
    met: bool | None

    def __str__(self) -> str:
        verdict = {True: "met", False: "MISSED", None: "not known"}[self.met]
        return f"{verdict:9}  {self.text}: {self.found}"


def targets(results: Sequence[Measured], product: str) -> list[Target]:
    """The four numbers of the first release, as far as their work items ran."""
    by = {(result.work.name, result.server): result for result in results if result.samples}
    found = [
        _peer_target(work, ours, by.get((work, "dovecot")))
        for work in ("lmtp-4k-one", "lmtp-4k-many")
        if (ours := by.get((work, product)))
    ]
    limits = (
        *((work, f"{text} takes less than {limit:.0f} ms", limit, "ms") for work, text, limit in GOALS),
        ("open-warm", "opening 10,000 messages warm takes less than 20 ms", 20.0, "ms"),
        ("push", "end of DATA to EXISTS: p50 less than 20 ms", 20.0, "ms"),
        ("idle", "an idle connection costs less than 60 KB", 60.0, "KB"),
        ("idle-tls", "an idle TLS connection costs less than 60 KB", 60.0, "KB"),
    )
    for work, text, limit, unit in limits:
        if ours := by.get((work, product)):
            value = 1000 * ours.latency(0.5) if unit == "ms" else ours.octets / 1024
            found.append(Target(text, f"{value:.1f} {unit}", value < limit))
    return found


def _peer_target(work: str, ours: Measured, theirs: Measured | None) -> Target:
    text = f"{work}: at least the rate of Dovecot in the same run"
    if theirs is None:
        return Target(text, f"{ours.rate:.0f}/s, no Dovecot", None)
    return Target(text, f"{ours.rate:.0f}/s, Dovecot {theirs.rate:.0f}/s", ours.rate >= theirs.rate)
