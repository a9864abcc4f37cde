"""The clients of a run of the queue: who sends, who fetches by POP3, and who watches the leases.

Each knows what it did and what was answered; what is not known is looked up, and has to be all or nothing.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pymongo.errors import PyMongoError

from duckmail.errors import CommitUnknown
from duckmail.model.flags import SEEN
from storage.mongo.client import Database, Document
from tests.faults.actors import Actor
from tests.faults.ledger import Gate, Violation
from tests.faults.queue_ledger import FAR, Data, Drop, Fate, Mail, QueueLedger, Stage, make_mail
from tests.faults.queue_wire import ACCEPTED, Pop3, Smtp
from tests.faults.rig import HOST, PASSWORD, Serve
from tests.faults.wire import LostError

PACE_SECONDS = 0.1  # a sender's longest rest between two messages
MOST_OPEN = 150  # messages in the queue, until senders wait
SETTLE_SECONDS = 1.0  # after which what a dead process has sent to MongoDB is done
LOOK_SECONDS = 0.5
DRAIN_SECONDS = 180.0  # until the queue is empty: a lease, a message that was put off, the schedule
LEASE_SECONDS = 60.0
LEASE_SLACK_SECONDS = 30.0
IN_USE_SECONDS = 10.0  # P6: a maildrop is blocked no longer by a dead process
IN_USE_SLACK_SECONDS = 30.0

_FATES = [Fate.TAKEN] * 5 + [Fate.LATE, Fate.LATER, Fate.BUSY, Fate.NEVER, Fate.REFUSED, Fate.REFUSED]
_DATA = [Data.TAKEN] * 16 + [Data.DEFERRED, Data.REFUSED, Data.TAKEN_UNSAID, Data.DROPPED]
_NOTIFY = ["", "", "", "FAILURE", "NEVER", "SUCCESS,FAILURE"]


class QueueActor(Actor):
    """An actor with the ledger of this campaign."""

    ledger: QueueLedger

    def lost(self) -> None:
        """Nothing is left open between two turns."""


class Sender(QueueActor):
    """Submits one message after the other, none twice."""

    def __init__(
        self, name: str, seed: int, serves: Sequence[Serve], ledger: QueueLedger, gate: Gate, accounts: Sequence[str]
    ) -> None:
        """`name`: `<number>-<account>`."""
        super().__init__(name, seed, serves, ledger, gate)
        self._account = name.partition("-")[2]
        self._accounts = accounts
        self._client: Smtp | None = None
        self._serve = serves[0]
        self._number = 0

    def lost(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = None

    async def turn(self) -> None:
        await self.gate.passing()
        await asyncio.sleep(self.chance.random() * PACE_SECONDS * (10 if self.ledger.open > MOST_OPEN else 1))
        if self._client is None or self.chance.random() < 0.1:
            self.lost()
            self._serve = self.any_serve()
            self._client = await Smtp.log_in(self._serve.submission, self._account, PASSWORD)
        mail = self._make()
        self.ledger.mails[mail.token] = mail
        try:
            code, text = await self._submit(self._client, mail)
        except LostError:
            self.ledger.outcomes[f"submission lost, {mail.stage.value}"] += 1
            raise
        if code == ACCEPTED:
            mail.stage = Stage.TAKEN
            self.ledger.done("submission taken")
            self.ledger.moments.now("taken", self._serve.host)
        elif CommitUnknown.default in text:
            self.ledger.done("submission of unknown outcome")
        elif 400 <= code < 500:
            mail.stage = Stage.REFUSED
            self.ledger.done("submission refused for now")
        else:
            raise Violation(f"{self.name}: {text} for {mail.token}")

    def _make(self) -> Mail:
        self._number += 1
        token = f"{self.name}-{self._number}"
        local = self.chance.sample(self._accounts, self.chance.choice([0, 1, 1, 2]))
        fates = self.chance.choices(_FATES, k=self.chance.choice([0, 1, 1, 2, 5] if local else [1, 2, 5]))
        # 421 ends the transaction for all: more than one for a message would use up the schedule.
        busy = fates.index(Fate.BUSY) if Fate.BUSY in fates else 0
        fates = [Fate.TAKEN if fate is Fate.BUSY and place != busy else fate for place, fate in enumerate(fates)]
        remote = {f"{fate.value}-{place}-{token}@{FAR}": fate for place, fate in enumerate(fates)}
        data, notify = self.chance.choice(_DATA), self.chance.choice(_NOTIFY)
        return Mail(token, self._account, tuple(local), remote, data, notify)

    async def _submit(self, client: Smtp, mail: Mail) -> tuple[int, str]:
        begun = 0.0

        def sent() -> None:
            nonlocal begun
            mail.stage, begun = Stage.SENT, time.monotonic()
            self.ledger.moments.now("sent", self._serve.host)

        notify = f" NOTIFY={mail.notify}" if mail.notify else ""
        recipients = [f"<{address}>{notify}" for address in mail.recipients]
        sender = f"<{self._account}@{HOST}> ENVID={mail.token}"
        answer = await client.submit(sender, recipients, make_mail(mail), sent)
        if answer[0] == ACCEPTED:
            self.ledger.commits.append((time.monotonic(), self._serve.host, time.monotonic() - begun))
        return answer


@dataclass(frozen=True, slots=True)
class _Update:
    """What one POP3 session asked for, by Message-ID. `deleted` is part of `seen`."""

    seen: frozenset[str]
    deleted: frozenset[str]
    asked: float  # monotonic


class Fetcher(QueueActor):
    """Reads and deletes some of an account's mail by POP3."""

    def __init__(
        self,
        name: str,
        seed: int,
        serves: Sequence[Serve],
        ledger: QueueLedger,
        gate: Gate,
        account: str,
        database: Database,
    ) -> None:
        super().__init__(name, seed, serves, ledger, gate)
        self._account = account
        self._database = database
        self._drop = ledger.drops.setdefault(account, Drop())
        self._pending: _Update | None = None
        self._refused = 0.0  # since when the maildrop is in use by nobody who lives

    async def turn(self) -> None:
        if self._pending is not None:
            await self._settle(self._pending)
        await self.gate.passing()
        await asyncio.sleep(0.1 + self.chance.random() * 0.5)
        serve = self.any_serve()
        client = await Pop3.connect(serve.pop3)
        try:
            if await self._log_in(client):
                await self._session(client, serve)
        finally:
            client.close()

    async def _log_in(self, client: Pop3) -> bool:
        await client.say(f"USER {self._account}")
        try:
            good, text = await client.say(f"PASS {PASSWORD}")
        except LostError:
            self._refused = 0.0  # perhaps this session has it now, and is dead too
            raise
        now = time.monotonic()
        if not good and "[IN-USE]" in text:
            self.ledger.outcomes["pop3 in use"] += 1
            self._refused = self._refused or now
            waited = now - self._refused - self.ledger.outage(self._refused, now)
            self.ledger.longest_in_use = max(self.ledger.longest_in_use, waited)
            if waited > IN_USE_SECONDS + IN_USE_SLACK_SECONDS:
                raise Violation(f"{self.name}: {text} for {waited:.0f} s")
            await asyncio.sleep(0.2)
            return False
        if not good:
            raise LostError(text)
        self._refused = 0.0
        return True

    async def _session(self, client: Pop3, serve: Serve) -> None:
        listing = dict(line.decode().split() for line in (await client.ask("UIDL")).splitlines())
        if len(set(listing.values())) != len(listing):
            raise Violation(f"{self.name}: unique-ids are not unique")
        numbers = self.chance.sample(sorted(listing), min(len(listing), self.chance.randrange(1, 8)))
        seen, deleted = set(), set()
        for number in numbers:
            raw = await client.ask(f"RETR {number}")
            name = self._identify(raw, listing[number])
            seen.add(name)
            if self.chance.random() < 0.5:
                await client.say(f"DELE {number}")
                deleted.add(name)
        await self._end(client, serve, seen, deleted)

    def _identify(self, raw: bytes, unique_id: str) -> str:
        """The Message-ID of a message. Raises: Violation: octets, or its unique-id, are not what they were."""
        header = raw.partition(b"\r\n\r\n")[0]
        name = header.partition(b"\r\nMessage-ID: ")[2].partition(b"\r\n")[0].decode()
        token = name.strip("<>").partition("@")[0]
        if token in self.ledger.mails and not raw.endswith(make_mail(self.ledger.mails[token])):
            raise Violation(f"{self.name}: the message {name} has other octets")
        if self._drop.unique_ids.setdefault(name, unique_id) != unique_id:
            raise Violation(f"{self.name}: the unique-id of {name} has changed")
        if name in self._drop.trash:
            raise Violation(f"{self.name}: {name} was deleted and is there again")
        return name

    async def _end(self, client: Pop3, serve: Serve, seen: set[str], deleted: set[str]) -> None:
        chance = self.chance.random()
        if chance < 0.15:  # RFC 1939 §6: without QUIT nothing is removed
            self.ledger.done("pop3 without quit")
            return
        if chance < 0.25:
            await client.say("RSET")
            deleted = set()
        self._pending = update = _Update(frozenset(seen), frozenset(deleted), time.monotonic())
        self.ledger.moments.now("quit", serve.host)
        try:
            good, text = await client.say("QUIT")
        except LostError:
            self.ledger.outcomes["pop3 quit lost"] += 1
            raise
        if good:
            self._apply(update)
            self.ledger.done("pop3 quit ok")
        elif "[SYS/TEMP]" in text or "[IN-USE]" in text:
            self.ledger.outcomes["pop3 quit refused"] += 1
        else:
            raise Violation(f"{self.name}: QUIT answered {text}")

    def _apply(self, update: _Update) -> None:
        self._drop.seen |= update.seen
        self._drop.trash |= update.deleted
        self._pending = None

    async def _settle(self, update: _Update) -> None:
        """Looks what became of a QUIT without +OK: nothing, all of it, or what it does first."""
        await asyncio.sleep(max(0.0, update.asked + SETTLE_SECONDS - time.monotonic()))
        try:
            seen, trash = await look(self._database, self._account, update.seen)
        except PyMongoError:
            raise LostError("MongoDB is away") from None
        # What was \Seen before says nothing.
        new, there = update.seen - self._drop.seen, seen - self._drop.seen
        if there == new and trash == update.deleted:
            outcome = "done"
            self._apply(update)
        elif there == new and not trash:
            # The messages are \Seen in a transaction of its own, and then moved in another.
            outcome = "not done, \\Seen is set"
            self._drop.seen |= update.seen
        elif not there and not trash:
            outcome = "not done"
        else:
            lack = f"\\Seen {sorted(there)} of {sorted(new)}, in Trash {sorted(trash)} of {sorted(update.deleted)}"
            raise Violation(f"{self.name}: QUIT is half done: {lack}")
        self.ledger.outcomes[f"pop3 quit lost: {outcome}"] += 1
        self._pending = None


async def look(database: Database, account: str, names: frozenset[str] | None = None) -> tuple[set[str], set[str]]:
    """The messages that are \\Seen in INBOX or Trash, and those that are in Trash, by Message-ID. `names`: of which.

    Raises: PyMongoError.
    """
    user = await database["users"].find_one({"username": account}, {"_id": 1})
    assert user is not None
    boxes = database["mailboxes"].find({"user": user["_id"], "path": {"$in": ["INBOX", "Trash"]}}, {"path": 1})
    paths = {box["_id"]: box["path"] async for box in boxes}
    query: Document = {"user": user["_id"], "mailbox": {"$in": list(paths)}}
    rows = await database["messages"].find(query, {"msgid": 1, "flags": 1, "mailbox": 1}).to_list(None)
    rows = [row for row in rows if names is None or row["msgid"] in names]
    seen = {row["msgid"] for row in rows if row["flags"] & SEEN}
    return seen, {row["msgid"] for row in rows if paths[row["mailbox"]] == "Trash"}


class LeaseWatch:
    """Looks at the queue again and again: how much is in it, and that no lease lasts longer than it may."""

    def __init__(self, database: Database, ledger: QueueLedger) -> None:
        self._looks = 0
        self._queue = database["queue"]
        self._ledger = ledger
        self._since: dict[tuple[object, object], float] = {}  # (message, token) -> monotonic

    async def run(self) -> None:
        """Until cancelled. Raises: Violation."""
        while True:
            with contextlib.suppress(PyMongoError):
                await self._look()
            await asyncio.sleep(LOOK_SECONDS)

    async def drained(self) -> float:
        """Waits until the queue is empty; the seconds that took. Raises: Violation."""
        begun, looked = time.monotonic(), self._looks
        while self._ledger.open or self._looks < looked + 2:
            if time.monotonic() - begun > DRAIN_SECONDS:
                raise Violation(f"{self._ledger.open} messages are in the queue after {DRAIN_SECONDS:.0f} s")
            await asyncio.sleep(0.1)
        return time.monotonic() - begun

    async def _look(self) -> None:
        rows = await self._queue.find({"ended": None}, {"lease": 1}).to_list(None)
        now = time.monotonic()
        self._ledger.open = len(rows)
        self._looks += 1
        leased = {(row["_id"], row["lease"]["token"]): row["lease"] for row in rows if "lease" in row}
        self._since = {key: self._since.get(key, now) for key in leased}
        for key, since in self._since.items():
            held = now - since - self._ledger.outage(since, now)
            self._ledger.longest_lease = max(self._ledger.longest_lease, held)
            ahead = (leased[key]["until"] - datetime.now(UTC)).total_seconds()
            if held > LEASE_SECONDS + LEASE_SLACK_SECONDS or ahead > LEASE_SECONDS + 1:
                story = f"for {held:.0f} s, by {leased[key]['runner']}, for {ahead:.0f} s more"
                raise Violation(f"queued message {key[0]} is leased {story}")
