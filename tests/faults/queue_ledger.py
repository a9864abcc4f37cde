"""What is known of the mail of a run: what was submitted, what another server did with it, what POP3 confirmed.

The addresses and the data of a message say what becomes of it, so that its end is known before it is sent.
"""

import asyncio
import base64
import random
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from tests.faults.ledger import Violation
from tests.faults.rig import HOST, Serve

FAR = "far.test"  # what the relay takes mail for
LARGE = 0.03  # how many of the messages have an attachment that goes into GridFS
# From the other server's 250 to our commit: what is killed within may send again. On a busy machine it takes longer, as
# do submissions at that time.
WINDOW_SECONDS = 1.0
NEAR_SECONDS = 10.0
# Commits that MongoDB's absence held up are tried again at the latest so long after it is back.
RECOVERY_SECONDS = 12.0
RANGES = (0, 20, 50, 100, 200, 500, 1000)  # milliseconds, in which these times are counted


class Fate(Enum):
    """What the relay does with a recipient; its address begins with the value."""

    TAKEN = "ok"
    LATE = "late"  # 451 once
    LATER = "later"  # 451 twice
    BUSY = "busy"  # 421 once
    NEVER = "never"  # 451 for ever
    REFUSED = "no"  # 550


class Data(Enum):
    """What it does after DATA, the first time or, with REFUSED, always."""

    TAKEN = "taken"
    DEFERRED = "451"
    REFUSED = "554"
    TAKEN_UNSAID = "taken, and dropped without an answer"
    DROPPED = "dropped without an answer"


class Stage(Enum):
    """How far a submission came, as its client knows."""

    BEGUN = "begun"
    SENT = "sent"  # perhaps whole, without an answer
    TAKEN = "taken"
    REFUSED = "refused"  # for now, and nothing was taken


@dataclass(slots=True)
class Mail:
    """One submission. `local`: accounts. `remote`: addresses at the relay. `notify`: of all recipients, "" for none."""

    token: str
    sender: str
    local: tuple[str, ...]
    remote: dict[str, Fate]
    data: Data
    notify: str
    stage: Stage = Stage.BEGUN

    @property
    def recipients(self) -> list[str]:
        return [*(f"{account}@{HOST}" for account in self.local), *self.remote]

    def relayed(self, address: str) -> bool:
        """Whether the relay is to take it for this one in the end; else it is bounced."""
        return self.data is not Data.REFUSED and self.remote[address] not in (Fate.NEVER, Fate.REFUSED)

    def states(self) -> dict[str, str]:
        """What the queue has to hold of each recipient at the end."""
        states = {f"{account}@{HOST}": "delivered" for account in self.local}
        return states | {address: "relayed" if self.relayed(address) else "failed" for address in self.remote}

    def entries(self) -> Iterator[tuple[str, str, str]]:
        """(token, address, action) of each recipient that the sender is to be told of, once."""
        wanted = self.notify.split(",")
        for address, state in self.states().items():
            if state == "failed" and (not self.notify or "FAILURE" in wanted):
                yield self.token, address, "failed"
            if state != "failed" and "SUCCESS" in wanted:
                yield self.token, address, state


def make_mail(mail: Mail) -> bytes:
    """Its octets, always the same."""
    chance = random.Random(mail.token)
    head = (
        f"From: <{mail.sender}@{HOST}>\r\nTo: undisclosed-recipients:;\r\nSubject: {mail.token}\r\n"
        f"Date: Mon, 02 Nov 2026 10:00:00 +0100\r\nMessage-ID: {message_id(mail.token)}\r\nMIME-Version: 1.0\r\n"
    )
    if chance.random() < LARGE:
        data = base64.encodebytes(chance.randbytes(200_000)).replace(b"\n", b"\r\n")
        body = b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n" + data
    else:
        body = b"Content-Type: text/plain\r\n\r\n" + b".a line of a message\r\n" * chance.randrange(1, 150)
    return head.encode() + body


def message_id(token: str) -> str:
    return f"<{token}@faults.example>"


@dataclass(frozen=True, slots=True)
class Taken:
    """The relay took a message for a recipient. `serve`, `start`: from which process, after how many starts of it.
    `answered`: it said so, or had gone before it could. `time`: monotonic."""

    time: float
    serve: str
    start: int
    answered: bool


@dataclass(slots=True)
class Drop:
    """The maildrop of an account as POP3 left it, by Message-ID."""

    seen: set[str] = field(default_factory=set)
    trash: set[str] = field(default_factory=set)
    unique_ids: dict[str, str] = field(default_factory=dict)


class Moments:
    """Tells who waits for it that something happens right now, and in which process."""

    def __init__(self) -> None:
        self._wanted = ""
        self._waiting: asyncio.Future[str] | None = None

    def now(self, what: str, serve: str) -> None:
        if what == self._wanted and self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(serve)

    async def next(self, what: str, seconds: float) -> str:
        """The host name of the process; "" when it did not happen in time."""
        self._wanted, self._waiting = what, asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds):
                return await self._waiting
        except TimeoutError:
            return ""
        finally:
            self._waiting = None


@dataclass(slots=True)
class QueueLedger:
    """Shared by all actors of a run, and the relay."""

    serves: list[Serve]
    mails: dict[str, Mail] = field(default_factory=dict)  # by token
    taken: dict[str, list[Taken]] = field(default_factory=dict)  # by the recipient's address
    drops: dict[str, Drop] = field(default_factory=dict)  # by account
    kills: dict[tuple[str, int], float] = field(default_factory=dict)  # (serve, start) -> monotonic
    outages: list[tuple[float, float]] = field(default_factory=list)  # of mongod
    commits: list[tuple[float, str, float]] = field(default_factory=list)  # submissions: when, serve, seconds
    outcomes: Counter[str] = field(default_factory=Counter)
    moments: Moments = field(default_factory=Moments)
    broken: list[str] = field(default_factory=list)  # found by the relay, which cannot raise
    operations: int = 0
    open: int = 0  # messages in the queue, at the last look
    longest_lease: float = 0.0  # seconds
    longest_in_use: float = 0.0  # seconds that a maildrop was held by a dead process

    def serve(self, host: str) -> Serve:
        return next(serve for serve in self.serves if serve.host == host)

    def done(self, what: str) -> None:
        self.outcomes[what] += 1
        self.operations += 1

    def outage(self, begin: float, end: float, grace: float = 0.0) -> float:
        """Seconds of an interval in which mongod was away, or just back."""
        return sum(max(0.0, min(end, ended + grace) - max(begin, begun)) for begun, ended in self.outages)

    def window(self, event: Taken) -> float:
        """Seconds that our commit may have taken then."""
        near = (
            seconds
            for ended, serve, seconds in self.commits
            if serve == event.serve and abs(ended - event.time) < NEAR_SECONDS
        )
        return WINDOW_SECONDS + max(near, default=0.0)

    def check(self) -> None:
        """Raises: Violation."""
        if self.broken:
            raise Violation(self.broken[0])


@dataclass(slots=True)
class Doubles:
    """What the relay took more than once. `gaps`: milliseconds from its 250 to the kill of the process it went to;
    below 0: it was killed before."""

    ambiguous: int = 0
    killed: int = 0
    gaps: list[int] = field(default_factory=list)

    def histogram(self) -> dict[str, int]:
        """The gaps, by the upper end of their range."""
        names = [*(f"to {end} ms" for end in RANGES), "longer, MongoDB was away"]
        counts = Counter(bisect_left(RANGES, gap) for gap in self.gaps)
        return {names[place]: counts[place] for place in sorted(counts)}


def doubles(ledger: QueueLedger) -> Doubles:
    """Raises: Violation: one that SMTP does not excuse."""
    found = Doubles()
    for address, events in ledger.taken.items():
        for first in events[:-1]:
            if not first.answered:
                found.ambiguous += 1
                continue
            killed = ledger.kills.get((first.serve, first.start))
            if killed is None:
                age = f"{time.monotonic() - first.time:.1f} s ago"
                raise Violation(f"{address} was given to the relay again by {first.serve}, which lives; first {age}")
            late = killed - first.time - ledger.outage(first.time, killed, RECOVERY_SECONDS)
            if late > (window := ledger.window(first)):
                story = f"its process died {late:.2f} s after its 250, a commit took at most {window:.2f} s"
                raise Violation(f"{address} was given to the relay again; {story}")
            found.killed += 1
            found.gaps.append(round((killed - first.time) * 1000))
    return found
