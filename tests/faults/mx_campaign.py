"""One run of a server that is an MX: others deliver to it, it sends on, it is killed at the worst moments.

Promised is: what was acknowledged is in every mailbox once, and has gone on; once, but for what a process had handed
over when it was killed between the other server's 250 and its own commit (RFC 5321 §4.5.3.2.6).
"""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from duckmail.services.queue.runner import AHEAD
from storage.fsck import check as fsck
from storage.mongo.client import Database, Document, connect, database
from storage.store import Store
from tests.faults.actors import Actor
from tests.faults.ledger import Gate, Violation
from tests.faults.mx_world import ANSWERS, AWAY, FAR, RECIPIENTS, MxLedger, Remote, Sent, onward
from tests.faults.queue_actors import LeaseWatch
from tests.faults.queue_ledger import Doubles, doubles
from tests.faults.rig import DATABASE, HOST, Rig, rig
from tests.faults.steps import at_work, recorded, work
from tests.support.dns_server import dns_server
from tests.support.ports import free_ports

COMPARE_EVERY = 25  # kills
WORK_SECONDS = 4.0  # between two kills, at most
MOMENT_SECONDS = 2.0
CONCURRENCY = 5
# Messages in work, some of which the relay has already: so many a kill can make come again. How many transactions there
# are is no bound, since the next one begins while what came of the last is still being recorded.
AT_ONCE = AHEAD * CONCURRENCY
# When a process is killed, and how many seconds later at most: while the end of a message is under way, just after the
# relay answered, or at any time.
MOMENTS = {"sent": 0.1, "relayed": 0.05, "": 0.0}
ACCOUNTS = ("anna", "bert")
CONFIG = """
[mx]
listen = ["127.0.0.1:{mx}"]
[outbound]
relay = "smtp://127.0.0.1:{relay}"
tls = "never"
nameservers = ["{dns}"]
schedule = ["200 ms", "300 ms", "300 ms", "400 ms", "500 ms", "500 ms"]
concurrency = {concurrency}
"""


@dataclass(frozen=True, slots=True)
class Plan:
    seed: int
    count: int
    remotes: int = 6
    work: int = 60  # messages between two kills, at most


@dataclass(slots=True)
class Result:
    plan: Plan
    seconds: float = 0.0
    kills: int = 0
    moments: Counter[str] = field(default_factory=Counter)  # kills by what was happening
    restarts: list[float] = field(default_factory=list)
    drains: list[float] = field(default_factory=list)  # seconds until the queue was empty
    outcomes: Counter[str] = field(default_factory=Counter)
    tried: Counter[int] = field(default_factory=Counter)  # messages by how often their end was sent
    stored: int = 0
    onward: int = 0
    answers: int = 0
    unanswered: int = 0  # whose answer was given up with the process that had counted it
    most_doubles: int = 0  # of one kill
    doubles: Doubles = field(default_factory=Doubles)
    violation: str = ""

    def figures(self) -> dict[str, object]:
        return {
            "seed": self.plan.seed,
            "seconds": round(self.seconds, 1),
            "kills": self.kills,
            "kills_by_moment": dict(sorted(self.moments.items())),
            "restart_seconds_max": round(max(self.restarts, default=0.0), 2),
            "drain_seconds": [round(seconds, 1) for seconds in self.drains],
            "messages_by_tries": dict(sorted(self.tried.items())),
            "stored": self.stored,
            "sent_on": self.onward,
            "answered": self.answers,
            "answers_lost_with_a_process": self.unanswered,
            "sent_on_twice": {
                "killed_between_its_250_and_our_commit": self.doubles.killed,
                "most_of_one_kill": self.most_doubles,
                "at_most": AT_ONCE,
                "from_its_250_to_the_kill": self.doubles.histogram(),
            },
            "outcomes": dict(sorted(self.outcomes.items())),
            "violation": self.violation,
        }


class Campaign:
    def __init__(self, plan: Plan, servers: Rig, ledger: MxLedger, watch: LeaseWatch, actors: list[Actor]) -> None:
        self.result = Result(plan)
        self._plan = plan
        self._rig = servers
        self._ledger = ledger
        self._watch = watch
        self._actors = actors
        self._gate = actors[0].gate
        self._chance = random.Random(f"{plan.seed}:kills")

    async def run(self, look: Database) -> None:
        """Raises: Violation and other assertion errors."""
        begun = time.monotonic()
        try:
            async with at_work((*self._actors, self._watch)):
                for number in range(1, self._plan.count + 1):
                    await work(lambda: self._ledger.operations, self._chance, self._plan.work, WORK_SECONDS)
                    await self._kill()
                    if number % COMPARE_EVERY == 0 or number == self._plan.count:
                        await self._compare(look)
        finally:
            self.result.seconds = time.monotonic() - begun
            self.result.outcomes = self._ledger.outcomes

    async def _kill(self) -> None:
        (serve,) = self._rig.serves
        moment = self._chance.choice(list(MOMENTS))
        if moment and await self._ledger.moments.next(moment, MOMENT_SECONDS):
            await asyncio.sleep(self._chance.random() * MOMENTS[moment])
        else:
            moment = "any"
        self.result.moments[moment] += 1
        serve.kill()
        self._ledger.kills[serve.host, serve.starts] = time.monotonic()
        self.result.kills += 1
        serve.start()
        self.result.restarts.append(await serve.ready())

    async def _compare(self, look: Database) -> None:
        await self._gate.close()
        self.result.drains.append(await self._watch.drained())
        async with self._rig.store() as store:
            await compare(store, look, self._ledger, self.result)
        self._gate.open()


async def compare(store: Store, look: Database, ledger: MxLedger, result: Result) -> None:
    """All remotes being at rest and the queue empty. Raises: Violation."""
    ledger.check()
    mails = list(ledger.sent.values())
    lost = [mail.token for mail in mails if not mail.acknowledged]
    if lost:
        raise Violation(f"at rest, but not acknowledged: {lost[:5]}")
    result.tried = Counter(mail.tries for mail in mails)
    result.stored = 0
    for account in ACCOUNTS:
        wanted = Counter(f"<{mail.token}@faults.example>" for mail in mails if account in mail.recipients)
        there = await _stored(look, account)
        if wanted != there:
            raise Violation(f"{account}: missing {list(wanted - there)[:5]}, too much {list(there - wanted)[:5]}")
        result.stored += there.total()
    _compare_onward(mails, ledger, result)
    if differences := await fsck(store, deep=False):
        raise Violation(f"fsck: {differences[:10]}")


async def _stored(look: Database, account: str) -> Counter[str]:
    user = await look["users"].find_one({"username": account}, {"_id": 1})
    assert user is not None
    rows: list[Document] = await look["messages"].find({"user": user["_id"]}, {"msgid": 1}).to_list(None)
    return Counter(row["msgid"] for row in rows)


def _compare_onward(mails: list[Sent], ledger: MxLedger, result: Result) -> None:
    wanted = {key for mail in mails for key in mail.onward()}
    answers = {mail.answer: mail for mail in mails if ANSWERS in mail.recipients}
    there = set(ledger.taken)
    # Who is answered is counted before the commit: a process that dies in between has answered, as it seems to the
    # next one. Better none than two (RFC 3834 §2); but only then.
    silent = [mail for key, mail in answers.items() if key not in there]
    missing = [*(wanted - there), *(mail.answer for mail in silent if mail.tries == 1)]
    if missing or there - wanted - answers.keys():
        raise Violation(f"sent on: missing {missing[:5]}, too much {list(there - wanted - answers.keys())[:5]}")
    result.onward, result.answers, result.unanswered = len(wanted), len(answers) - len(silent), len(silent)
    result.doubles = doubles(ledger)
    again = Counter((first.serve, first.start) for events in ledger.taken.values() for first in events[:-1])
    result.most_doubles = max(again.values(), default=0)
    if result.most_doubles > AT_ONCE:
        raise Violation(f"one kill made {result.most_doubles} come again, where {AT_ONCE} messages are in work")


async def _furnish(servers: Rig) -> None:
    async with servers.store() as store:
        domain = f"@{HOST}"
        await store.addresses.insert_forwarded(f"team{domain}", f"team{domain}", [f"{RECIPIENTS['team']}@{FAR}"])
        for name in ACCOUNTS:
            user = await store.database["users"].find_one({"username": name}, {"_id": 1})
            assert user is not None
            if target := RECIPIENTS[name]:
                many = {"targets": [f"{target}@{FAR}"], "forwards": 1_000_000}
                await store.database["users"].update_one({"_id": user["_id"]}, {"$set": many})
            if name == ANSWERS:
                answer = {"status": True, "subject": "away", "text": "later"}
                await store.autoreplies.update(str(user["_id"]), answer)
        await store.database["addresses"].update_many({"targets": {"$exists": True}}, {"$set": {"forwards": 1_000_000}})


async def run(plan: Plan, logs: Path | None = None) -> Result:
    """The result; its `violation` is empty when all promises were kept; else the logs go to the folder `logs`."""
    mx, relay = free_ports(2)
    async with dns_server({(AWAY, "TXT"): ["v=spf1 ip4:127.0.0.1 -all"]}) as dns:
        extra = CONFIG.format(mx=mx, relay=relay, dns=dns.address, concurrency=CONCURRENCY)
        async with rig(accounts=ACCOUNTS, extra=extra) as servers, connect(servers.mongod.uri) as client:
            await _furnish(servers)
            ledger, gate, look = MxLedger(servers.serves), Gate(), database(client, DATABASE)
            actors: list[Actor] = [
                Remote(f"r{number}", plan.seed, servers.serves, ledger, gate, mx) for number in range(plan.remotes)
            ]
            async with onward(relay, ledger, plan.seed):
                campaign = Campaign(plan, servers, ledger, LeaseWatch(look, ledger), actors)
                with recorded(campaign.result, plan.seed, servers.serves, logs, "faults-mx"):
                    await campaign.run(look)
                return campaign.result
