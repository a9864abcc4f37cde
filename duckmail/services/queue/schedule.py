"""What an attempt's outcome makes of a recipient. Pure.

The schedule counts attempts, but never ends before its own time is over: retries by hand do not shorten it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from duckmail.model.queue import Notify, Outcome, QueueRecipient, State
from duckmail.model.settings import Settings

JITTER = 0.1  # what failed together does not come back all at once
# RFC 5321 §4.5.4.1: after some hours the sender may be told. The attempt that falls at four hours may come early.
DELAY = timedelta(hours=4)
LONGEST_REPLY = 500  # octets kept of what a remote server said

EXPIRED = "4.4.7"  # RFC 3463 §3.5: delivery time expired


@dataclass(frozen=True, slots=True)
class Schedule:
    """`configured`: seconds after each failed attempt, unless `settings` have others.

    `delay`: after which the sender is told of it, once; 0 for never.
    """

    configured: Sequence[float]
    settings: Settings = field(default_factory=Settings)
    delay: timedelta = DELAY

    @property
    def waits(self) -> Sequence[float]:
        """Seconds after each failed attempt; after the last one the message has failed."""
        return self.settings.defer_times or self.configured

    @property
    def life(self) -> timedelta:
        """The time from the first attempt to the last."""
        return timedelta(seconds=sum(self.waits))

    def next(self, attempts: int, age: timedelta, now: datetime, factor: float) -> datetime | None:
        """When to try again after `attempts` failed ones; None when this is the end. `factor`: of the wait, near 1."""
        if attempts > len(self.waits) and age >= self.life * (1 - JITTER):
            return None
        return now + timedelta(seconds=self.waits[min(attempts, len(self.waits)) - 1] * factor)

    def settle(
        self,
        recipient: QueueRecipient,
        outcome: Outcome,
        taken: State,
        *,
        created: datetime,
        now: datetime,
        factor: float,
    ) -> QueueRecipient:
        """The recipient after an attempt. `taken`: the state it has when the message was accepted for it."""
        tried = replace(
            recipient,
            attempts=recipient.attempts + 1,
            due=None,
            tried=now,
            reply=words(outcome),
            status=outcome.status or f"{_class(outcome)}.0.0",
            host=outcome.host,
        )
        if outcome.accepted:
            return replace(tried, state=taken)
        if outcome.permanent:
            return replace(tried, state=State.FAILED)
        due = self.next(tried.attempts, now - created, now, factor)
        if due is None:
            return replace(tried, state=State.FAILED, status=EXPIRED)
        return replace(tried, due=due)

    def delayed(self, recipient: QueueRecipient, created: datetime, now: datetime) -> bool:
        """Whether the sender is to be told of a delay, once (RFC 3461 §4.1)."""
        wanted = Notify.DELAY in recipient.notify and not recipient.delayed and self.delay > timedelta()
        late = now - created >= self.delay * (1 - JITTER)
        return wanted and recipient.state is State.WAITING and recipient.attempts > 0 and late

    def ends(self, recipient: QueueRecipient, created: datetime) -> datetime:
        """About when a waiting recipient is given up."""
        left = self.waits[min(recipient.attempts, len(self.waits)) :]
        begin = recipient.due or created
        return max(created + self.life, begin + timedelta(seconds=sum(left)))


def words(outcome: Outcome) -> str:
    """What was said, as one line: `550 5.1.1 No such user`."""
    text = outcome.text
    if outcome.status and not text.startswith(outcome.status):
        text = f"{outcome.status} {text}" if outcome.code else text
    if outcome.code:
        text = f"{outcome.code} {text}"
    return " ".join(text.split()).encode("utf-8", "replace")[:LONGEST_REPLY].decode("utf-8", "ignore")


def _class(outcome: Outcome) -> int:
    return 2 if outcome.accepted else 5 if outcome.permanent else 4
