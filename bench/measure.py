"""What a run costs: processor time and memory of process trees, read from /proc."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class _Stat:
    pid: int
    parent: int
    ticks: int  # own user and system time
    reaped: int  # that of ended children it waited for
    name: str


def _stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # proc(5): the name stands in parentheses and may hold any character.
    name, _, rest = text.partition("(")[2].rpartition(")")
    field = rest.split()
    return _Stat(pid, int(field[1]), int(field[11]) + int(field[12]), int(field[13]) + int(field[14]), name)


def _all() -> list[_Stat]:
    found = (_stat(int(entry)) for entry in os.listdir("/proc") if entry.isdigit())
    return [stat for stat in found if stat is not None]


def _trees(roots: Sequence[int]) -> list[_Stat]:
    children: dict[int, list[_Stat]] = {}
    for stat in _all():
        children.setdefault(stat.parent, []).append(stat)
    found = [first for root in roots if (first := _stat(root)) is not None]
    for stat in found:  # grows while it is walked
        found += children.get(stat.pid, [])
    return found


@dataclass(frozen=True, slots=True)
class Cpu:
    """Seconds of processor time so far: of a server's main part, of its databases, of this program, of the machine."""

    server: float
    database: float
    client: float
    machine: float

    def __sub__(self, other: "Cpu") -> "Cpu":
        return Cpu(
            self.server - other.server,
            self.database - other.database,
            self.client - other.client,
            self.machine - other.machine,
        )

    @property
    def others(self) -> float:
        """What everybody else on the machine used."""
        return max(0.0, self.machine - self.server - self.database - self.client)


DATABASES = ("mongod", "valkey-server", "redis-server")


def cpu(roots: Sequence[int]) -> Cpu:
    """The processor time of the trees under `roots` (with ended children), of their databases and of this process."""
    server = database = 0
    for stat in _trees(roots):
        if stat.name in DATABASES:
            database += stat.ticks + stat.reaped
        else:
            server += stat.ticks + stat.reaped
    own = os.times()
    return Cpu(server / TICKS, database / TICKS, own.user + own.system, _machine())


def _machine() -> float:
    """Seconds that all processors together were busy since the start of the machine."""
    field = [int(text) for text in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    # proc(5): user nice system idle iowait irq softirq steal
    return (sum(field[:3]) + sum(field[5:7])) / TICKS


def memory(roots: Sequence[int], *, databases: bool = False) -> int:
    """Octets of memory of the trees under `roots`, without or only the databases; shared pages count in parts (Pss)."""
    return sum(_pss(stat.pid) for stat in _trees(roots) if (stat.name in DATABASES) == databases)


def _pss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def steal() -> float:
    """Seconds that the host took from this machine."""
    return int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[8]) / TICKS
