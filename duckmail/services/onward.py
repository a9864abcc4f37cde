"""What a delivery sends out: mail that is sent on, and answers; within the limits of whoever it is sent for.

It goes into the queue in the commit of the message, or, where no message is stored, in a commit of its own.
"""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from duckmail.errors import InvalidInput, LimitReached, NotPermitted, RateLimited
from duckmail.model.address import view
from duckmail.model.envelope import Recipient
from duckmail.model.queue import Notify, Origin, OutboundEnvelope, QueueRecipient
from duckmail.model.rules import Rules
from duckmail.model.settings import Settings
from duckmail.model.spam import NEVER_FORWARDED, is_spam
from duckmail.model.target import shown
from duckmail.runtime.log import event
from duckmail.services.addresses import forwards_key
from duckmail.services.arrived import Arrived, Contents
from duckmail.services.autoreply import INTERVAL, compose, may_answer
from duckmail.services.queue.forward import Forwarding
from duckmail.services.queue.queue import NewMail, Queue
from duckmail.services.targets import usable
from storage.redis.counters import Count

DAY = 24 * 3600
LONGEST_WAIT = 10_000 * DAY  # what Redis takes as a time to live, by far

_logger = logging.getLogger("duckmail.delivery")


class Counters(Protocol):
    """What is needed of `storage.redis.counters.Counters`."""

    async def incr(self, key: str, window: int, by: int = 1) -> Count: ...


class OnwardStore(Protocol):
    """What is needed of `storage.store.Store` to send mail on."""

    @property
    def contents(self) -> Contents: ...

    @property
    def counters(self) -> Counters: ...

    @property
    def settings(self) -> Settings: ...


@dataclass(slots=True)
class Outgoing:
    """What a message brings about: `letters` go out, unless the delivery fails; then `counted` is counted back."""

    letters: list[NewMail]
    counted: list[tuple[str, int, int]]  # key, window, by


class Onward:
    """`hostname`: in Message-IDs of answers."""

    def __init__(self, store: OnwardStore, queue: Queue, forwarding: Forwarding, hostname: str) -> None:
        self._store = store
        self._queue = queue
        self._forwarding = forwarding
        self._hostname = hostname

    async def only_forward(
        self, mail: Arrived, recipient: Recipient, rules: Rules, key: bytes | None, outgoing: Outgoing
    ) -> None:
        """Of an address without an account: to its targets. `key`: the delivery's.

        Raises: InvalidInput: it goes round in circles; NotPermitted: it is spam, or no bounce; RateLimited.
        """
        if recipient.bounces and mail.envelope.sender:
            raise NotPermitted("This address takes bounces only")
        if mail.spam.points > NEVER_FORWARDED:
            raise NotPermitted("Spam is not forwarded")
        if self._forwarding.circles(mail.raw, recipient.account):
            raise InvalidInput("It goes round in circles")
        limit = (forwards_key(recipient.account), DAY, len(recipient.targets), rules.forwards)
        if not await self._counted(*limit, outgoing):
            raise RateLimited("This address has forwarded too much mail today")
        spam = is_spam(recipient.spam_level, mail.spam.score)
        # Who is named as its sender has hardly written it: a failure further on is told to nobody.
        told = replace(recipient, notify=Notify.NEVER) if spam else recipient
        outgoing.letters.append(self._forwarded(mail, told, recipient.targets))
        mail.decisions[recipient.account]["forwarded"] = [shown(target) for target in recipient.targets]
        if not spam:
            await self.answer(mail, recipient, rules, outgoing)
        await self.submit(outgoing.letters, key)

    async def send_on(
        self, mail: Arrived, recipient: Recipient, rules: Rules, targets: Sequence[str], outgoing: Outgoing
    ) -> tuple[tuple[str, str], ...]:
        """To `targets`, as far as that is possible: (kind, target) of each that it was."""
        own = {view(address) for address in (recipient.address, rules.address) if address}
        found = [target for target in dict.fromkeys(targets) if usable(target) and view(target) not in own]
        if not found:
            return ()
        problem = ""
        if mail.spam.points > NEVER_FORWARDED:
            problem = "spam"
        elif self._forwarding.circles(mail.raw, recipient.account):
            problem = "it goes round in circles"
        elif not await self._counted(forwards_key(recipient.account), DAY, len(found), rules.forwards, outgoing):
            problem = "the limit of a day"
        else:
            try:
                outgoing.letters.append(self._forwarded(mail, recipient, found, recipient.account))
            except (InvalidInput, LimitReached) as error:
                problem = error.text
        if problem:
            mail.decisions[recipient.account]["notForwarded"] = problem
            _tell(mail, recipient, "not forwarded", problem)
            return ()
        mail.decisions[recipient.account]["forwarded"] = [shown(target) for target in found]
        return tuple((_kind(target), target) for target in found)

    def _forwarded(self, mail: Arrived, recipient: Recipient, targets: Sequence[str], user: str = "") -> NewMail:
        """Raises: InvalidInput, LimitReached: it cannot be queued so."""
        letter = self._forwarding.mail(
            mail.envelope, recipient, mail.raw, mail.content, targets, user=user, lines=mail.lines
        )
        letter = replace(letter, message_id=mail.content.summary.message_id)
        self._queue.document(letter)
        return letter

    async def _counted(self, key: str, window: int, number: int, most: int, outgoing: Outgoing) -> bool:
        """Counts; whether it may be."""
        count = await self._store.counters.incr(key, window, number)
        if count.value > most:
            await self._store.counters.incr(key, window, -number)
            return False
        outgoing.counted.append((key, window, number))
        return True

    async def answer(self, mail: Arrived, recipient: Recipient, rules: Rules, outgoing: Outgoing) -> None:
        """With the autoreply, if there is one now and the sender is to have it."""
        autoreply, sender = rules.autoreply, mail.envelope.sender
        if autoreply is None or not autoreply.active(datetime.now(UTC)):
            return
        own = recipient.address if "*" in rules.address or not rules.address else rules.address
        if not may_answer(sender, mail.header, (own, recipient.address)):
            return
        # RFC 3834 §2: not more than once in a while to the same sender.
        wait = min(self._store.settings.literal("const:autoreply:interval", INTERVAL * 1000) // 1000, LONGEST_WAIT)
        asked = hashlib.sha256(view(sender).encode()).hexdigest()[:32]
        if not await self._counted(f"autoreply:{recipient.account}:{asked}", wait, 1, 1, outgoing):
            return
        try:
            octets = compose(
                autoreply, address=own, name=rules.name, sender=sender, header=mail.header, hostname=self._hostname
            )
            content = await self._store.contents.prepare(octets)
            # RFC 3834 §3.3: the null sender, so that nothing answers to it.
            letter = NewMail(
                user="" if recipient.targets else recipient.account,
                origin=Origin.AUTOREPLY,
                envelope=OutboundEnvelope(
                    "",
                    body="7BIT" if octets.isascii() else "8BITMIME",
                    smtputf8=not (own.isascii() and sender.isascii()),
                    requiretls=mail.envelope.requiretls,  # RFC 8689 §6: the subject that it repeats was sent so
                ),
                recipients=[QueueRecipient(sender, Notify.NEVER)],
                content=content,
                message_id=content.summary.message_id,
            )
            self._queue.document(letter)
        except (InvalidInput, ValueError) as error:
            _tell(mail, recipient, "not answered", type(error).__name__)
            return
        mail.decisions[recipient.account]["answered"] = True
        outgoing.letters.append(letter)

    async def count_back(self, outgoing: Outgoing) -> None:
        """Nothing of it goes out."""
        for key, window, number in outgoing.counted:
            await self._store.counters.incr(key, window, -number)

    async def submit(self, letters: Sequence[NewMail], key: bytes | None) -> None:
        """Puts them into the queue, in commits of their own. `key`: the delivery's; a second time does nothing."""
        for letter in letters:
            own = None if key is None else hashlib.sha256(key + letter.origin.value.encode()).digest()
            await self._queue.submit(replace(letter, key=own))


def _kind(target: str) -> str:
    scheme = target.partition("://")[0] if "://" in target else ""
    return "http" if scheme.startswith("http") else "relay" if scheme else "mail"


def _tell(mail: Arrived, recipient: Recipient, what: str, reason: str) -> None:
    event(
        _logger, logging.INFO, what, connection=mail.envelope.connection, recipient=recipient.address, reason=reason
    )  # fmt: skip
