"""Incoming mail: who gets it, and one durable copy for each account.

A message is prepared once however many it is for; each account gets it once however many of its addresses are named,
and once however often a relay sends it again, if the message identifies itself.
"""

import asyncio
import hashlib
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from duckmail.errors import (
    AccountDisabled,
    CommitUnknown,
    DuckmailError,
    InvalidInput,
    NotFound,
    OverQuota,
    Unavailable,
)
from duckmail.model.account import User
from duckmail.model.envelope import Envelope, Recipient, Verdict
from duckmail.model.mailbox import Inbox
from duckmail.model.message import Appended, Content, NewMessage
from duckmail.runtime import metrics
from duckmail.runtime.batch import Batched
from duckmail.runtime.log import event
from duckmail.runtime.threads import Pool
from duckmail.services.recipients import AddressBook, Resolver

LOOKUP_SECONDS = 8.0
DELIVER_SECONDS = 300.0  # a relay waits 10 minutes for the answer (RFC 5321 §4.5.3.2.6)
RECIPIENT_SECONDS = 1.0  # a recipient is remembered: mail comes in bursts, and a look-up costs as much as a commit
RECIPIENTS = 10_000  # remembered at most
# Room in an account that what is under way for it does not use up: beyond it the transaction need not add up its
# mailboxes. Nearer to the quota each message is decided inside its transaction (DESIGN §4).
AMPLE_ROOM = 256 * 1024 * 1024
HASH_INLINE = 64 * 1024  # octets; more is hashed in a thread
HEADER_LIMIT = 256 * 1024  # octets searched for what identifies the message
PREFIX_LIMIT = 4096  # octets; DESIGN §4

# How a look-up is counted that ended so; every other error is temporary.
_FOUND = {NotFound: "unknown", AccountDisabled: "disabled", OverQuota: "full"}

_logger = logging.getLogger("duckmail.delivery")
_CONTROL = re.compile("[\x00-\x1f\x7f]")
# A target that is a mail address; others are URLs.
_TARGET = re.compile("(?!.*://)[^\x00-\x20<>\x7f-\xa0]+@[^\x00-\x20<>@\x7f-\xa0]+")
_RECEIVED_ID = re.compile(rb"[\s)]id\s+[^\s;]")


class Accounts(Protocol):
    """What is needed of `storage.users.Users`."""

    async def many(self, users: Sequence[str], /) -> dict[str, User]: ...


class Mailboxes(Protocol):
    """What is needed of `storage.mailboxes.Mailboxes`."""

    async def inboxes(self, users: Sequence[str], /) -> dict[str, Inbox]: ...


class Contents(Protocol):
    """What is needed of `storage.contents.Contents`."""

    async def prepare(self, raw: bytes | bytearray, /) -> Content: ...


class MessageStore(Protocol):
    """What delivery needs of `storage.store.Store`."""

    @property
    def addresses(self) -> AddressBook: ...

    @property
    def users(self) -> Accounts: ...

    @property
    def mailboxes(self) -> Mailboxes: ...

    @property
    def contents(self) -> Contents: ...

    async def append_many(
        self, items: Sequence[tuple[str, str, NewMessage, int]], /
    ) -> list[Appended | DuckmailError]: ...


class Forwarder(Protocol):
    """What sends mail on; `duckmail.services.queue.forward.Forwarding` is one."""

    async def forward(
        self, envelope: Envelope, recipient: Recipient, raw: bytes | bytearray, content: Content, key: bytes | None, /
    ) -> None:
        """Takes the message for all targets of `recipient`, durably; once for each `key`. Raises: DuckmailError."""
        ...


@dataclass(frozen=True, slots=True)
class _Account:
    user: User
    inbox: Inbox | None


class Delivery:
    """Takes mail from any edge: `recipient` for each address, then `deliver` once.

    Args:
        quota: octets that an account without a quota of its own may use; 0 for no limit.
        forwarder: for addresses that only forward; without one their mail is deferred.
    """

    def __init__(self, store: MessageStore, pool: Pool, quota: int = 0, forwarder: Forwarder | None = None) -> None:
        self._store = store
        self._forwarder = forwarder
        self._pool = pool
        self._quota = quota
        self._resolver = Resolver(store.addresses)
        self._accounts: Batched[str, _Account] = Batched(self._load_accounts)
        self._known: OrderedDict[str, tuple[float, Recipient]] = OrderedDict()

    async def recipient(self, address: str, size: int = 0) -> Recipient:
        """Resolves a recipient and says whether a message of `size` octets (0: unknown) would be accepted now.

        Raises:
            NotFound: nobody has this address.
            AccountDisabled: the account receives no mail.
            OverQuota: it has no room.
            Unavailable: nobody can say now; or the address only forwards, to nobody that is written to here.
        """
        known = self._known.get(address)
        if known is not None and known[0] > time.monotonic():
            metrics.RECIPIENTS["accepted"].inc()
            return known[1]
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                recipient = await self._look_up(address, size)
        except TimeoutError:
            metrics.RECIPIENTS["unavailable"].inc()
            raise Unavailable(address=address, reason="look-up timed out") from None
        except DuckmailError as error:
            metrics.RECIPIENTS[_FOUND.get(type(error), "unavailable")].inc()
            raise
        metrics.RECIPIENTS["accepted"].inc()
        if not recipient.quota:
            self._remember(recipient)
        return recipient

    def _remember(self, recipient: Recipient) -> None:
        """Only who has ample room: nothing about him can then change that a message must not cross."""
        self._known[recipient.address] = (time.monotonic() + RECIPIENT_SECONDS, recipient)
        self._known.move_to_end(recipient.address)
        if len(self._known) > RECIPIENTS:
            self._known.popitem(last=False)

    async def _look_up(self, address: str, size: int) -> Recipient:
        record = await self._resolver.resolve(address)
        if record is None:
            raise NotFound("No such recipient here")
        if record.forwarded_disabled:
            raise AccountDisabled("This address receives no mail")
        if not record.user:
            targets = tuple(target for target in record.targets if _TARGET.fullmatch(target))
            if not targets or self._forwarder is None:
                # Mail is kept by the relay rather than lost.
                raise Unavailable("Forwarding is not available now", address=address)
            return Recipient(address, record.id, targets=targets)
        account = await self._accounts.get(record.user)
        if account is None:
            raise NotFound("No such recipient here")
        if not account.user.active:
            raise AccountDisabled("This account receives no mail")
        if account.inbox is None:
            raise Unavailable(account=record.user, reason="no INBOX")
        quota = account.user.limits.quota or self._quota
        if quota and (account.inbox.used >= quota or account.inbox.used + size > quota):
            raise OverQuota("Mailbox full")
        if quota - account.inbox.used >= AMPLE_ROOM:
            quota = 0
        return Recipient(address, record.user, account.inbox.mailbox, quota)

    async def _load_accounts(self, ids: list[str]) -> dict[str, _Account]:
        # Not a TaskGroup: it would wrap `Unavailable` into a group.
        users, inboxes = await asyncio.gather(self._store.users.many(ids), self._store.mailboxes.inboxes(ids))
        return {id_: _Account(user, inboxes.get(id_)) for id_, user in users.items()}

    async def deliver(
        self, envelope: Envelope, raw: bytes | bytearray, recipients: Sequence[Recipient]
    ) -> list[Verdict]:
        """Stores the message in the INBOX of each recipient's account; one verdict each, in order.

        Success means durable. Accounts named twice get it once, and the same verdict for each of their addresses.

        Raises:
            DuckmailError: the same for all; nothing was stored, or (CommitUnknown) nobody knows.
        """
        try:
            async with asyncio.timeout(DELIVER_SECONDS):
                verdicts = await self._deliver(envelope, raw, recipients)
        except TimeoutError:
            metrics.DELIVERIES["temporary"].inc(len(recipients))
            raise CommitUnknown(connection=envelope.connection) from None
        except Exception as error:
            permanent = isinstance(error, DuckmailError) and not error.temporary
            metrics.DELIVERIES["permanent" if permanent else "temporary"].inc(len(recipients))
            raise
        for verdict in verdicts:
            metrics.DELIVERIES[_kind(verdict)].inc()
        return verdicts

    async def _deliver(
        self, envelope: Envelope, raw: bytes | bytearray, recipients: Sequence[Recipient]
    ) -> list[Verdict]:
        digest = await self._digest(envelope, raw)
        content = await self._store.contents.prepare(raw)
        # The first address named of each account is the one that its copy is delivered to.
        first: dict[str, Recipient] = {}
        for recipient in recipients:
            first.setdefault(recipient.account, recipient)
        keys = {account: delivery_key(account, envelope.sender, digest) if digest else None for account in first}
        forwarded = [recipient for recipient in first.values() if recipient.targets]
        items: list[tuple[str, str, NewMessage, int]] = []
        for account, recipient in first.items():
            if recipient.targets:
                continue
            key = keys[account]
            message = NewMessage(content, prefix=prefix(envelope, recipient), delivery_key=key)
            items.append((account, recipient.inbox, message, recipient.quota))
        outcomes: dict[str, Appended | DuckmailError | None] = {}
        if items:
            stored = await self._store.append_many(items)
            outcomes |= {item[0]: outcome for item, outcome in zip(items, stored, strict=True)}
        for recipient in forwarded:
            key = keys[recipient.account]
            outcomes[recipient.account] = await self._forward(envelope, recipient, raw, content, key)
        return [self._verdict(envelope, recipient, outcomes[recipient.account]) for recipient in recipients]

    async def _forward(
        self, envelope: Envelope, recipient: Recipient, raw: bytes | bytearray, content: Content, key: bytes | None
    ) -> DuckmailError | None:
        if self._forwarder is None:
            return Unavailable("Forwarding is not available now", address=recipient.address)
        try:
            await self._forwarder.forward(envelope, recipient, raw, content, key)
        except DuckmailError as error:
            return error
        return None

    async def _digest(self, envelope: Envelope, raw: bytes | bytearray) -> bytes:
        """The hash of the octets, b"" when equal octets need not be the same message (DESIGN §5 Delivery)."""
        if envelope.key:
            return hashlib.sha256(envelope.key).digest()
        if not envelope.ident and not identifies_itself(raw):
            return b""
        if len(raw) <= HASH_INLINE:
            return hashlib.sha256(raw).digest()
        return await self._pool.run(lambda: hashlib.sha256(raw).digest())

    @staticmethod
    def _verdict(envelope: Envelope, recipient: Recipient, outcome: Appended | DuckmailError | None) -> Verdict:
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


def delivery_key(account: str, sender: str, digest: bytes) -> bytes:
    """The idempotence key: equal for the same octets from the same sender to the same account."""
    return hashlib.sha256(b"\0".join((account.encode(), sender.encode(), digest))).digest()


def prefix(envelope: Envelope, recipient: Recipient) -> bytes:
    """The header lines that final delivery puts before the message of this recipient.

    Raises:
        InvalidInput: an address that would make anything else of it than two lines.
    """
    # RFC 5321 §4.4: the final delivery adds a Return-Path line with the reverse-path.
    if _CONTROL.search(envelope.sender) or _CONTROL.search(recipient.address):
        raise InvalidInput("Control character in an address")
    lines = f"Return-Path: <{envelope.sender}>\r\nDelivered-To: {recipient.address}\r\n".encode()
    if len(lines) > PREFIX_LIMIT:
        raise InvalidInput("Addresses too long")
    return lines


def identifies_itself(raw: bytes | bytearray) -> bool:
    """Whether equal octets are the same message: a Message-ID, or an id in the top Received line."""
    end = raw.find(b"\r\n\r\n", 0, HEADER_LIMIT)
    header = b"\r\n" + bytes(raw[: end if end >= 0 else HEADER_LIMIT]).lower()
    if (found := header.find(b"\r\nmessage-id:")) >= 0 and _value(header, found):
        return True
    received = header.find(b"\r\nreceived:")
    return received >= 0 and _RECEIVED_ID.search(_value(header, received)) is not None


def _value(header: bytes, start: int) -> bytes:
    """The value of the field whose line break is at `start`, unfolded, without surrounding white space."""
    begin = header.find(b":", start) + 1
    end = header.find(b"\r\n", begin)
    while end >= 0 and header[end + 2 : end + 3] in {b" ", b"\t"}:
        end = header.find(b"\r\n", end + 2)
    return header[begin : end if end >= 0 else len(header)].strip()
