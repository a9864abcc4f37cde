"""One run: clients at work, processes killed at random moments, everything compared."""

import asyncio
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.actors import Actor, Relay, Worker
from tests.faults.ledger import BLOCKED_SECONDS, MAILBOXES, Gate, Ledger, Violation, compare, make_message
from tests.faults.observers import Observer
from tests.faults.rig import PASSWORD, Rig, rig
from tests.faults.steps import at_work, recorded, work
from tests.faults.wire import fetched, imap

COMPARE_EVERY = 10  # kills
WORK_SECONDS = 5.0  # between two kills, at most
STARTING = 0.1  # how often a process is killed once more while it starts
LATE_EVERY = 20  # with two processes: so many kills after one whose process stays away until its lease has run out
LATE_SECONDS = 9.0


@dataclass(frozen=True, slots=True)
class Plan:
    seed: int
    count: int
    mongod_count: int = 0
    processes: int = 1
    redis: bool = True
    accounts: tuple[str, ...] = ("anna", "bert", "cleo")
    workers: int = 2  # per account
    relays: int = 2
    work: int = 80  # operations between two kills, at most


@dataclass(slots=True)
class Result:
    plan: Plan
    seconds: float = 0.0
    kills: int = 0
    mongod_kills: int = 0
    comparisons: int = 0
    restarts: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    longest_wait: float = 0.0
    longest_wait_mongod: float = 0.0
    violation: str = ""

    def figures(self) -> dict[str, object]:
        plan = self.plan
        return {
            "seed": plan.seed,
            "processes": plan.processes,
            "redis": plan.redis,
            "seconds": round(self.seconds, 1),
            "kills": self.kills,
            "mongod_kills": self.mongod_kills,
            "comparisons": self.comparisons,
            "restart_seconds_mean": round(sum(self.restarts) / max(1, len(self.restarts)), 2),
            "restart_seconds_max": round(max(self.restarts, default=0.0), 2),
            "longest_wait_seconds": round(self.longest_wait, 2),
            "longest_wait_beyond_mongod_outage_seconds": round(self.longest_wait_mongod, 2),
            "messages_read_back": self.messages,
            "outcomes": dict(sorted(self.outcomes.items())),
            "violation": self.violation,
        }


class Campaign:
    def __init__(self, plan: Plan, servers: Rig) -> None:
        self.plan = plan
        self.result = Result(plan)
        self._rig = servers
        self._chance = random.Random(plan.seed)
        self._ledger = Ledger(
            delivered={account: set() for account in plan.accounts}, owned={account: {} for account in plan.accounts}
        )
        self._gate, self._watch_gate = Gate(), Gate()
        common = (plan.seed, servers.serves, self._ledger)
        self._actors: list[Actor] = [Relay(f"relay{n}", *common, self._gate, plan.accounts) for n in range(plan.relays)]
        self._observers: list[Observer] = []
        for account in plan.accounts:
            for n in range(plan.workers):
                self._actors.append(Worker(f"w{n}.{account}", *common, self._gate, account))
            for path in MAILBOXES[:2]:
                self._observers.append(Observer(f"eye.{path}", *common, self._watch_gate, account, path))

    async def run(self) -> None:
        """Raises: Violation and other assertion errors."""
        begun = time.monotonic()
        try:
            async with at_work((*self._actors, *self._observers)):
                await self._kill_and_compare()
        finally:
            ledger, result = self._ledger, self.result
            result.seconds = time.monotonic() - begun
            result.outcomes = ledger.outcomes
            result.longest_wait = ledger.longest(outage=False)
            result.longest_wait_mongod = ledger.longest(outage=True)
        if max(result.longest_wait, result.longest_wait_mongod) > BLOCKED_SECONDS:
            raise Violation(f"an operation waited {result.figures()}")

    async def _kill_and_compare(self) -> None:
        plan = self.plan
        victims = ["serve"] * plan.count + ["mongod"] * plan.mongod_count
        self._chance.shuffle(victims)
        await asyncio.sleep(1)
        for number, victim in enumerate(victims, 1):
            await work(lambda: len(self._ledger.waits), self._chance, plan.work, WORK_SECONDS)
            if victim == "mongod":
                await self._kill_mongod()
            else:
                await self._kill_serve(late=plan.processes > 1 and number % LATE_EVERY == LATE_EVERY // 2)
            if number % COMPARE_EVERY == 0 or number == len(victims):
                await self._compare(last=number == len(victims))

    async def _kill_serve(self, *, late: bool) -> None:
        serve = self._chance.choice(self._rig.serves)
        serve.kill()
        self._ledger.kills.append(time.monotonic())
        self.result.kills += 1
        if late:
            await asyncio.sleep(LATE_SECONDS)
        serve.start()
        while self._chance.random() < STARTING:
            await asyncio.sleep(self._chance.uniform(0, 2))
            serve.kill()
            serve.start()
            self.result.kills += 1
        self.result.restarts.append(await serve.ready())

    async def _kill_mongod(self) -> None:
        begun = time.monotonic()
        await self._rig.kill_mongod()
        await self._rig.start_mongod()
        self._ledger.outages.append((begun, time.monotonic()))
        self.result.mongod_kills += 1

    async def _compare(self, *, last: bool) -> None:
        await self._gate.close()
        await self._watch_gate.close()
        async with self._rig.store() as store:
            found = await compare(store, self._ledger, deep=last)
        for observer in self._observers:
            observer.compare(found[observer.account][observer.path])
        self.result.comparisons += 1
        kills = f"{self.result.kills} kills of duckmail, {self.result.mongod_kills} of mongod"
        print(f"{kills}, {len(self._ledger.waits)} operations: all as it should be", file=sys.stderr, flush=True)
        if last:
            await self._read_back()
        self._watch_gate.open()
        self._gate.open()

    async def _read_back(self) -> None:
        """Every message that is left, octet for octet, by IMAP."""
        for account in self.plan.accounts:
            async with imap(self._rig.serves[0].imap, account, PASSWORD) as client:
                for path in MAILBOXES:
                    expected = {
                        uid: msg.token
                        for boxes in self._ledger.owned[account].values()
                        for uid, msg in boxes[path].items()
                    }
                    await client.command(f"SELECT {path}")
                    for row in fetched(await client.command("UID FETCH 1:* (BODY.PEEK[])")):
                        token = expected.get(row.uid or 0)
                        if token is not None and not b"".join(row.literals).endswith(make_message(token)):
                            story = f"literals of {[len(one) for one in row.literals]} octets"
                            raise Violation(f"{account}/{path}: message {row.uid} is not {token}: {story}")
                        self.result.messages += 1


async def run(plan: Plan, logs: Path | None = None) -> Result:
    """The result; its `violation` is empty when all promises were kept; else the logs go to the folder `logs`."""
    async with rig(plan.processes, accounts=plan.accounts, redis=plan.redis) as servers:
        campaign = Campaign(plan, servers)
        with recorded(campaign.result, plan.seed, servers.serves, logs, "faults"):
            await campaign.run()
        return campaign.result
