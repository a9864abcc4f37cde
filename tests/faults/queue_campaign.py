"""One run of the queue: mail is sent and fetched, processes are killed at the worst moments, all is compared."""

import asyncio
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from storage.mongo.client import connect, database
from tests.faults.actors import Actor
from tests.faults.ledger import Gate
from tests.faults.queue_actors import Fetcher, LeaseWatch, Sender
from tests.faults.queue_check import Found, compare
from tests.faults.queue_ledger import QueueLedger
from tests.faults.queue_relay import listening
from tests.faults.rig import DATABASE, Rig, Serve, rig
from tests.faults.steps import at_work, recorded, work
from tests.support.ports import free_ports

COMPARE_EVERY = 25  # kills
WORK_SECONDS = 4.0  # between two kills, at most
MOMENT_SECONDS = 2.0
STARTING = 0.1  # how often a process is killed once more while it starts
CONFIG = """
[outbound]
relay = "smtp://127.0.0.1:{port}"
tls = "never"
schedule = ["200 ms", "300 ms", "300 ms", "400 ms", "500 ms", "500 ms"]
per_host = 10
"""

# When a process is killed, and how many seconds later at most: while a submission's end is under way, just after it was
# answered, as the relay answers, as POP3 commits; or at any time.
_MOMENTS = {"sent": 0.15, "taken": 0.05, "relayed": 0.05, "quit": 0.1, "": 0.0}


@dataclass(frozen=True, slots=True)
class Plan:
    seed: int
    count: int
    mongod_count: int = 0
    processes: int = 1
    redis: bool = True
    accounts: tuple[str, ...] = ("anna", "bert", "cleo")
    copying: tuple[str, ...] = ("anna", "cleo")  # whose sent messages are kept
    senders: int = 2  # per account
    work: int = 60  # operations between two kills, at most
    late: bool = True  # with two processes: one stays away now and then until its leases have run out


@dataclass(slots=True)
class Result:
    plan: Plan
    seconds: float = 0.0
    kills: int = 0
    mongod_kills: int = 0
    moments: Counter[str] = field(default_factory=Counter)  # kills by what was happening
    restarts: list[float] = field(default_factory=list)
    drains: list[float] = field(default_factory=list)  # seconds until the queue was empty
    outcomes: Counter[str] = field(default_factory=Counter)
    found: Found = field(default_factory=Found)
    longest_lease: float = 0.0
    longest_in_use: float = 0.0
    violation: str = ""

    def figures(self) -> dict[str, object]:
        found, doubled = self.found, self.found.doubles
        return {
            "seed": self.plan.seed,
            "processes": self.plan.processes,
            "redis": self.plan.redis,
            "seconds": round(self.seconds, 1),
            "kills": self.kills,
            "mongod_kills": self.mongod_kills,
            "kills_by_moment": dict(sorted(self.moments.items())),
            "comparisons": len(self.drains),
            "restart_seconds_mean": round(sum(self.restarts) / max(1, len(self.restarts)), 2),
            "restart_seconds_max": round(max(self.restarts, default=0.0), 2),
            "drain_seconds": [round(seconds, 1) for seconds in self.drains],
            "longest_lease_seconds": round(self.longest_lease, 1),
            "longest_maildrop_in_use_seconds": round(self.longest_in_use, 1),
            "messages": found.messages,
            "unanswered_submissions": dict(sorted(found.unanswered.items())),
            "recipients": dict(sorted(found.states.items())),
            "recipients_by_attempts": dict(sorted(found.attempts.items())),
            "reports": found.reports,
            "recipients_in_reports": dict(sorted(found.told.items())),
            "copies_in_sent": found.copies,
            "messages_read_back": found.read_back,
            "doubled_at_the_relay": {
                "killed_between_its_250_and_our_commit": doubled.killed,
                "from_its_250_to_the_kill": doubled.histogram(),
                "dropped_without_an_answer": doubled.ambiguous,
                "otherwise": 0 if not self.violation else "see violation",
            },
            "outcomes": dict(sorted(self.outcomes.items())),
            "violation": self.violation,
        }


class Campaign:
    def __init__(self, plan: Plan, servers: Rig, ledger: QueueLedger, watch: LeaseWatch, actors: list[Actor]) -> None:
        self.plan = plan
        self.result = Result(plan)
        self._rig = servers
        self._ledger = ledger
        self._watch = watch
        self._actors = actors
        self._gate = actors[0].gate
        self._chance = random.Random(f"{plan.seed}:kills")
        self._begun = time.monotonic()
        self._up = {serve.host for serve in servers.serves}  # processes that answer

    async def run(self) -> None:
        """Raises: Violation and other assertion errors."""
        try:
            async with at_work((*self._actors, self._watch)) as tasks:
                await self._kill_and_compare(tasks)
        finally:
            ledger, result = self._ledger, self.result
            result.seconds = self.seconds
            result.outcomes = ledger.outcomes
            result.longest_lease, result.longest_in_use = ledger.longest_lease, ledger.longest_in_use

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begun

    async def _kill_and_compare(self, tasks: asyncio.TaskGroup) -> None:
        plan = self.plan
        victims = ["serve"] * plan.count + ["mongod"] * plan.mongod_count
        self._chance.shuffle(victims)
        for number, victim in enumerate(victims, 1):
            last = number == len(victims)
            await work(lambda: self._ledger.operations, self._chance, plan.work, WORK_SECONDS)
            if victim == "mongod":
                await self._kill_mongod()
            else:
                serve = await self._kill_serve(self._chance.choice(list(_MOMENTS)))
                await self._start(serve)
                ready = tasks.create_task(self._ready(serve))
                if plan.processes == 1:
                    await ready
            if number % COMPARE_EVERY == 0 or last:
                await self._compare(last=last, late=self._late)

    @property
    def _late(self) -> bool:
        """At every second comparison."""
        return self.plan.late and self.plan.processes > 1 and len(self.result.drains) % 2 == 0

    async def _kill_serve(self, moment: str) -> Serve:
        """Kills one that is up, at the next such moment; which one."""
        host = await self._ledger.moments.next(moment, MOMENT_SECONDS) if moment else ""
        if host and self._chance.random() < 0.7:
            await asyncio.sleep(self._chance.random() * _MOMENTS[moment])
        await self._some_up(1)
        if host not in self._up:
            moment, host = "any", self._chance.choice(sorted(self._up))
        self.result.moments[moment] += 1
        serve = self._ledger.serve(host)
        self._kill(serve)
        return serve

    async def _start(self, serve: Serve) -> None:
        serve.start()
        while self._chance.random() < STARTING:
            await asyncio.sleep(self._chance.uniform(0, 2))
            self._kill(serve)
            self.result.moments["starting"] += 1
            serve.start()

    async def _ready(self, serve: Serve) -> None:
        self.result.restarts.append(await serve.ready())
        self._up.add(serve.host)

    async def _some_up(self, count: int) -> None:
        while len(self._up) < count:
            await asyncio.sleep(0.01)

    def _kill(self, serve: Serve) -> None:
        serve.kill()
        self._up.discard(serve.host)
        self._ledger.kills[serve.host, serve.starts] = time.monotonic()
        self.result.kills += 1

    async def _kill_mongod(self) -> None:
        await self._some_up(self.plan.processes)  # one that starts without MongoDB ends
        begun = time.monotonic()
        await self._rig.kill_mongod()
        await self._rig.start_mongod()
        self._ledger.outages.append((begun, time.monotonic()))
        self.result.mongod_kills += 1

    async def _compare(self, *, last: bool, late: bool) -> None:
        """`late`: one process dies once more and stays away: what it had leased is the business of the others."""
        if late:
            await self._kill_serve("relayed")
        await self._gate.close()
        self.result.drains.append(await self._watch.drained())
        async with self._rig.store() as store:
            self.result.found = await compare(store, self._ledger, copying=set(self.plan.copying), deep=last)
        for serve in self._rig.serves:
            if not serve.alive:
                serve.start()
                await self._ready(serve)
        found = self.result.found
        kills = f"{self.result.kills} kills of duckmail, {self.result.mongod_kills} of mongod"
        there = f"{found.messages} messages, {found.states.total()} recipients"
        print(f"{self.seconds:.0f} s: {kills}, {there}: all as it should be", file=sys.stderr, flush=True)
        self._gate.open()


async def run(plan: Plan, logs: Path | None = None) -> Result:
    """The result; its `violation` is empty when all promises were kept; else the logs go to the folder `logs`."""
    [port] = free_ports(1)
    attributes = {
        name: {"recipients": 1_000_000, "upload_sent_messages": name in plan.copying} for name in plan.accounts
    }
    extra = CONFIG.format(port=port)
    async with rig(
        plan.processes, accounts=plan.accounts, attributes=attributes, redis=plan.redis, extra=extra
    ) as servers:
        ledger, gate = QueueLedger(servers.serves), Gate()
        async with listening(port, ledger, plan.seed), connect(servers.mongod.uri) as client:
            look = database(client, DATABASE)
            common = (plan.seed, servers.serves, ledger, gate)
            actors: list[Actor] = [
                Sender(f"{number}-{account}", *common, plan.accounts)
                for account in plan.accounts
                for number in range(plan.senders)
            ]
            actors += [Fetcher(f"pop3.{account}", *common, account, look) for account in plan.accounts]
            campaign = Campaign(plan, servers, ledger, LeaseWatch(look, ledger), actors)
            with recorded(campaign.result, plan.seed, servers.serves, logs, "faults-queue"):
                await campaign.run()
            return campaign.result
