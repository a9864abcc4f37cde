"""Incoming mail: who gets it, and one durable copy for each account.

A message is prepared once however many it is for; each account gets it once however many of its addresses are named,
and once however often a relay sends it again, if the message identifies itself.
"""

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from duckmail.errors import (
    CommitUnknown,
    DuckmailError,
    InvalidInput,
    NotFound,
    Unavailable,
)
from duckmail.mime.header import Lookup
from duckmail.mime.headerblock import block_of, header_of, message_id_of
from duckmail.model.account import Quota
from duckmail.model.envelope import Envelope, Recipient, Verdict
from duckmail.model.message import Appended, NewMessage
from duckmail.model.settings import Settings
from duckmail.model.spam import Spam, mentions
from duckmail.model.spam import verdict as spam_verdict
from duckmail.model.trace import story_id
from duckmail.runtime import metrics
from duckmail.runtime.log import event
from duckmail.runtime.threads import Pool
from duckmail.services.acceptance import Acceptance, RecipientStore, RuleBook
from duckmail.services.addressregister import AddressRegister
from duckmail.services.arrivals import Arrivals
from duckmail.services.arrived import Arrived, Contents, Prepared
from duckmail.services.deliverytrace import Outcome, arrival, tell_delivered, tell_refused
from duckmail.services.idempotence import delivery_key, envelope_digest
from duckmail.services.inspection import Inspected, Inspection
from duckmail.services.refusals import Stage, tell_unread, told
from duckmail.services.srs import Srs
from duckmail.services.tracing import Tracing

DELIVER_SECONDS = 300.0  # a relay waits 10 minutes for the answer (RFC 5321 §4.5.3.2.6)
SORTED_TOGETHER = 20  # recipients with rules of their own that one message is sorted for at the same time
PREFIX_LIMIT = 4096  # octets; DESIGN §4

_logger = logging.getLogger("duckmail.delivery")
_IMPERSONAL = (b"\r\nlist-", b"\r\nauto-submitted:", b"\r\nprecedence:")
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_NO_MESSAGE = Envelope("")


class MessageStore(RecipientStore, Protocol):
    """What delivery needs of `storage.store.Store`."""

    @property
    def contents(self) -> Contents: ...

    async def append_many(
        self, items: Sequence[tuple[str, str, NewMessage, Quota]], /
    ) -> list[Appended | DuckmailError]: ...


class Sorter(RuleBook, Protocol):
    """What does more with a message than putting it into INBOX; `duckmail.services.sorting.Sorting` is one."""

    async def deliver(self, mail: Arrived, recipient: Recipient, message: NewMessage, /) -> Appended | None: ...


class Delivery:
    """Takes mail from any edge: `recipient` for each address, then `deliver` once.

    Args:
        quota: octets that an account without a quota of its own may use; 0 for no limit.
        received: messages a minute of an account without a limit of its own; 0 for no limit, whatever accounts have.
        sorter: for accounts with filters and the like, and addresses that only forward; without one the mail of the
            latter is deferred.
        arrivals: counts what each account gets; None: nobody does.
        register: notes who writes to whom.
        settings: what addresses that only forward may do, and how long domains are remembered.
        srs: knows what bounces of forwarded mail are for; None: nothing is.
        inspection: finds out who a message is from, and whether it is spam; None: nobody does.
        tracing: told what became of each message; None: nobody is.
    """

    def __init__(
        self,
        store: MessageStore,
        pool: Pool,
        quota: int = 0,
        *,
        received: int = 0,
        sorter: Sorter | None = None,
        arrivals: Arrivals | None = None,
        register: AddressRegister | None = None,
        settings: Settings | None = None,
        srs: Srs | None = None,
        inspection: Inspection | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._store = store
        self._sorter = sorter
        self._arrivals = arrivals
        self._register = register
        self._inspection = inspection
        self._tracing = tracing
        self._pool = pool
        self._acceptance = Acceptance(
            store, quota, received, settings or Settings(), rules=sorter, arrivals=arrivals, srs=srs
        )

    async def recipient(self, address: str, size: int = 0, envelope: Envelope | None = None) -> Recipient:
        """Resolves a recipient and says whether a message of `size` octets (0: unknown) would be accepted now.

        `envelope`: of the message that is to come, whose story is told a refusal; None: the caller tells it.

        Raises:
            NotFound: nobody has this address.
            AccountDisabled: the account receives no mail.
            OverQuota: it has no room.
            RateLimited: it has received too much in the last minute.
            Unavailable: nobody can say now; or the address only forwards, to nobody that is written to here.
        """
        with told(self._tracing if envelope is not None else None, Stage.RECIPIENT, envelope or _NO_MESSAGE, address):
            return await self._acceptance.recipient(address, size)

    def unread(self, envelope: Envelope, recipients: Sequence[Recipient], text: str) -> None:
        """A message was thrown away, or not looked at; the client was told `text`."""
        tell_unread(self._tracing, envelope, recipients, text)

    async def deliver(
        self,
        envelope: Envelope,
        raw: bytes | bytearray,
        recipients: Sequence[Recipient],
        inspected: Inspected | None = None,
    ) -> list[Verdict]:
        """Stores the message in the INBOX of each recipient's account; one verdict each, in order.

        Success means durable. Accounts named twice get it once, and the same verdict for each of their addresses.
        `inspected`: what is known of the message already; None: it is looked at here.

        Raises:
            DuckmailError: the same for all; nothing was stored, or (CommitUnknown) nobody knows.
        """
        try:
            async with asyncio.timeout(DELIVER_SECONDS):
                verdicts = await self._deliver(envelope, raw, recipients, inspected)
        except TimeoutError:
            metrics.DELIVERIES["temporary"].inc(len(recipients))
            error = CommitUnknown(connection=envelope.connection)
            self._refused(envelope, raw, recipients, error)
            raise error from None
        except Exception as error:
            permanent = isinstance(error, DuckmailError) and not error.temporary
            metrics.DELIVERIES["permanent" if permanent else "temporary"].inc(len(recipients))
            if isinstance(error, DuckmailError):
                self._refused(envelope, raw, recipients, error)
            raise
        for verdict in verdicts:
            metrics.DELIVERIES[_kind(verdict)].inc()
        return verdicts

    def _refused(
        self, envelope: Envelope, raw: bytes | bytearray, recipients: Sequence[Recipient], error: DuckmailError
    ) -> None:
        if self._tracing is not None:
            tell_refused(self._tracing, message_id_of(raw), envelope, recipients, error, size=len(raw))

    async def _deliver(
        self,
        envelope: Envelope,
        raw: bytes | bytearray,
        recipients: Sequence[Recipient],
        inspected: Inspected | None,
    ) -> list[Verdict]:
        header = header_of(raw)
        digest = await envelope_digest(envelope, raw, header, self._pool)
        if inspected is None and self._inspection is not None:
            content, found = await asyncio.gather(
                self._prepared(raw, recipients), self._inspect(self._inspection, envelope, raw, recipients)
            )
        else:
            content, found = await self._prepared(raw, recipients), inspected or Inspected()
        spam = Spam()
        lookup: Lookup | None = None
        if envelope.trusted and mentions(header):
            lookup = Lookup(block_of(raw))
            spam = spam_verdict(lookup)
        spam, lines = found.judged(spam), found.lines
        # The first address named of each account is the one that its copy is delivered to.
        first: dict[str, Recipient] = {}
        for recipient in recipients:
            first.setdefault(recipient.account, recipient)
        items: list[tuple[str, str, NewMessage, Quota]] = []
        sorted_: list[tuple[Recipient, NewMessage]] = []
        for account, recipient in first.items():
            key = delivery_key(account, envelope.sender, digest) if digest else None
            message = NewMessage(content, prefix=prefix(envelope, recipient, lines), delivery_key=key)
            # Nearly everybody: nothing of his own decides, and what the relay says of spam is below his level. A level
            # of 100 is above every score, one of 0 never.
            if recipient.rules is None and spam.score < recipient.spam_level:
                items.append((account, recipient.inbox, message, recipient.quota))
            else:
                sorted_.append((recipient, message))
        outcomes: dict[str, Outcome] = {}
        if items:
            stored = await self._store.append_many(items)
            outcomes |= {item[0]: outcome for item, outcome in zip(items, stored, strict=True)}
        decisions: dict[str, dict[str, object]] = {}
        if sorted_:
            mail = Arrived(envelope, raw, content, lookup or Lookup(block_of(raw)), spam, lines=lines)
            outcomes |= await self._sort(mail, sorted_)
            decisions = mail.decisions
        await self._count(first, outcomes)
        if self._tracing is not None:
            ended = [(recipient, outcomes[account]) for account, recipient in first.items()]
            arrived = arrival(envelope, len(raw), found, spam)
            name = story_id(content.summary.message_id, content.id)
            tell_delivered(self._tracing, name, arrived, ended, decisions)
        if self._register is not None and spam.score == 0:
            self._note(content, header, envelope, outcomes)
        return [self._verdict(envelope, recipient, outcomes[recipient.account]) for recipient in recipients]

    async def _prepared(self, raw: bytes | bytearray, recipients: Sequence[Recipient]) -> Prepared:
        """Where rules may want another message, or none, stored, nothing of this one is stored yet."""
        plain = all(recipient.rules is None for recipient in recipients)
        return await (self._store.contents.prepare(raw) if plain else self._store.contents.examine(raw))

    @staticmethod
    async def _inspect(
        inspection: Inspection, envelope: Envelope, raw: bytes | bytearray, recipients: Sequence[Recipient]
    ) -> Inspected:
        addresses = [recipient.address for recipient in recipients]
        return await inspection.inspect(envelope, addresses, raw, block_of(raw))

    async def _count(self, recipients: Mapping[str, Recipient], outcomes: Mapping[str, Outcome]) -> None:
        """What each account has received in this minute."""
        if self._arrivals is not None:
            for account, recipient in recipients.items():
                if recipient.received_max and isinstance(outcomes[account], Appended):
                    await self._arrivals.add(account, recipient.received_max)

    async def _sort(self, mail: Arrived, each: Sequence[tuple[Recipient, NewMessage]]) -> dict[str, Outcome]:
        """By account; beside each other, so that what they store is committed together."""
        turns = asyncio.Semaphore(SORTED_TOGETHER)

        async def one(recipient: Recipient, message: NewMessage) -> Outcome:
            if self._sorter is None:
                return Unavailable("Forwarding is not available now", address=recipient.address)
            async with turns:
                try:
                    return await self._sorter.deliver(mail, recipient, message)
                except DuckmailError as error:
                    return error

        found = await asyncio.gather(*(one(recipient, message) for recipient, message in each))
        return {recipient.account: outcome for (recipient, _), outcome in zip(each, found, strict=True)}

    def _note(
        self,
        content: Prepared,
        header: bytes,
        envelope: Envelope,
        outcomes: Mapping[str, Outcome],
    ) -> None:
        """Who wrote to whom: people, no lists and no machines."""
        if self._register is None or not envelope.sender or any(mark in header for mark in _IMPERSONAL):
            return
        for name, address in content.summary.from_[:1]:
            for account, outcome in outcomes.items():
                if isinstance(outcome, Appended) and not outcome.duplicate:
                    self._register.note(account, address, name)

    @staticmethod
    def _verdict(envelope: Envelope, recipient: Recipient, outcome: Outcome) -> Verdict:
        if isinstance(outcome, NotFound):
            # The account was deleted since RCPT: the relay's next try will tell.
            return Verdict(recipient, error=Unavailable(account=recipient.account, reason="no INBOX"))
        if isinstance(outcome, DuckmailError):
            event(
                _logger,
                logging.WARNING if outcome.temporary else logging.INFO,
                "not delivered",
                connection=envelope.connection,
                sender=envelope.sender,
                recipient=recipient.address,
                kind=type(outcome).__name__,
                fields=outcome.fields,
            )
            return Verdict(recipient, error=outcome)
        if outcome is not None and outcome.duplicate:
            event(
                _logger,
                logging.INFO,
                "delivered before",
                connection=envelope.connection,
                sender=envelope.sender,
                recipient=recipient.address,
                id=outcome.id,
            )
        return Verdict(recipient, appended=outcome)


def _kind(verdict: Verdict) -> str:
    """How a verdict is counted."""
    if verdict.error is not None:
        return "temporary" if verdict.error.temporary else "permanent"
    return "duplicate" if verdict.appended is not None and verdict.appended.duplicate else "stored"


def prefix(envelope: Envelope, recipient: Recipient, checked: bytes = b"") -> bytes:
    """The header lines that final delivery puts before the message of this recipient.

    `checked`: those that say what was found out about the sender.

    Raises:
        InvalidInput: an address that would make anything else of it than two lines.
    """
    # RFC 5321 §4.4: the final delivery adds a Return-Path line with the reverse-path.
    if _CONTROL.search(envelope.sender) or _CONTROL.search(recipient.address):
        raise InvalidInput("Control character in an address")
    lines = f"Return-Path: <{envelope.sender}>\r\nDelivered-To: {recipient.address}\r\n".encode()
    if len(lines) > PREFIX_LIMIT:
        raise InvalidInput("Addresses too long")
    return lines + checked if len(lines) + len(checked) <= PREFIX_LIMIT else lines
