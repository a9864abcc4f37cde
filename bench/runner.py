"""Runs the work items against the servers, alternating between them, and measures what each run cost."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.clients.sink import Sink
from bench.measure import Cpu, cpu, steal
from bench.servers.base import HOST, NotInstalled, Server, new_folder, remove_folder
from bench.work.base import Outcome, Place, Sizes, Work

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one work item. `cpu`: seconds used meanwhile; `stolen`: of them those the machine's host took away."""

    outcome: Outcome
    seconds: float
    cpu: Cpu
    stolen: float
    load: float

    @property
    def rate(self) -> float:
        return self.outcome.operations / self.seconds


@dataclass(slots=True)
class Measured:
    """All runs of one work item on one server."""

    work: type[Work]
    server: str
    samples: list[Sample] = field(default_factory=list)
    error: str = ""

    @property
    def rate(self) -> float:
        """Operations a second of the best run: the others were disturbed more."""
        return max((sample.rate for sample in self.samples), default=0.0)

    def per_operation(self, part: Callable[[Cpu], float]) -> float:
        """The least seconds of processor time for one operation."""
        return min((part(sample.cpu) / sample.outcome.operations for sample in self.samples), default=0.0)

    def latency(self, share: float) -> float:
        """A percentile of the run where it was lowest, in seconds; 0 when nothing was timed."""
        found = [percentile(sample.outcome.latencies, share) for sample in self.samples if sample.outcome.latencies]
        return min(found, default=0.0)

    @property
    def octets(self) -> float:
        return min((sample.outcome.octets for sample in self.samples), default=0.0)

    def figures(self) -> dict[str, Any]:
        """For JSON; times in seconds."""
        return {
            "work": self.work.name,
            "title": self.work.title,
            "unit": self.work.unit,
            "server": self.server,
            "error": self.error,
            "rate": self.rate,
            "cpu_server": self.per_operation(lambda cpu: cpu.server),
            "cpu_database": self.per_operation(lambda cpu: cpu.database),
            "cpu_client": self.per_operation(lambda cpu: cpu.client),
            "p50": self.latency(0.50),
            "p95": self.latency(0.95),
            "p99": self.latency(0.99),
            "octets": self.octets,
            "samples": [
                {
                    "operations": sample.outcome.operations,
                    "seconds": sample.seconds,
                    "cpu": asdict(sample.cpu),
                    "others": sample.cpu.others / sample.seconds,
                    "stolen": sample.stolen,
                    "load": sample.load,
                    "p50": percentile(sample.outcome.latencies, 0.5),
                    "p99": percentile(sample.outcome.latencies, 0.99),
                }
                for sample in self.samples
            ],
        }


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of all are not above; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Bench:
    """`servers`: classes and how to make them; those not installed are told and left out."""

    def __init__(self, sizes: Sizes, seed: int, rounds: int, folder: Path | None, say: Say) -> None:
        self._sizes = sizes
        self._seed = seed
        self._rounds = rounds
        self._folder = folder
        self._say = say
        self.versions: dict[str, str] = {}
        self.missing: dict[str, str] = {}

    async def run(
        self, makers: Sequence[tuple[str, Callable[[Path], Server]]], works: Sequence[type[Work]]
    ) -> list[Measured]:
        places: list[Place] = []
        folders: list[Path] = []
        try:
            for name, make in makers:
                folder = new_folder(name.replace(":", "-"), self._folder)
                folders.append(folder)
                if place := await self._start(name, make(folder)):
                    places.append(place)
            return [measured for work in works for measured in await self._measure(work, places)]
        finally:
            for place in places:
                await place.server.stop()
                place.sink.stop()
            for folder in folders:
                remove_folder(folder)

    async def _start(self, name: str, server: Server) -> Place | None:
        sink = Sink()
        await sink.start(HOST)
        server.relay = sink.port
        try:
            await server.start()
        except NotInstalled as error:
            self.missing[name] = str(error)
            self._say(f"{name}: left out, not installed: {error}")
            sink.stop()
            return None
        self.versions[server.name] = server.version
        self._say(f"{server.name}: {server.version}")
        # The same mails for every server.
        place = Place(server, self._sizes, self._seed, sink)
        await place.prepare()
        return place

    async def _measure(self, work: type[Work], places: Sequence[Place]) -> list[Measured]:
        places = [place for place in places if work.needs <= place.server.offers]
        measured = [Measured(work, place.server.name) for place in places]
        for number in range(self._rounds):
            for place, result in list(zip(places, measured, strict=True))[:: 1 if number % 2 == 0 else -1]:
                if result.error:
                    continue
                try:
                    result.samples.append(await self._once(work(place)))
                except Exception as error:
                    result.error = f"{type(error).__name__}: {error}"[:300]
                    self._say(f"  {work.name} on {place.server.name}: {result.error}")
        for result in measured:
            if result.samples:
                self._say(f"  {work.title}, {result.server}: {result.rate:.0f} a second")
        return measured

    async def _once(self, work: Work) -> Sample:
        await work.prepare()
        try:
            await asyncio.sleep(0.2)  # what the preparation left to do is done
            server = work.place.server
            before, stolen, begun = cpu(server.pids), steal(), time.perf_counter()
            outcome = await work.run()
            seconds = time.perf_counter() - begun
            return Sample(outcome, seconds, cpu(server.pids) - before, steal() - stolen, os.getloadavg()[0])
        finally:
            await work.finish()
