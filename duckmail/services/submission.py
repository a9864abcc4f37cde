"""Mail from an account of ours on its way out: who may send as what, to whom, how much; then into the queue.

- An account sends as its own addresses and as what its patterns allow (`senders`), in the envelope and in From alike;
  whatever else is refused, or its main address takes that place, as configured. The null sender belongs to nobody: who
  is signed in may use it (RFC 6409 §6.1), From is looked at all the same.
- Recipients of a day are counted before the message is queued, and counted back if it is not.
- What was answered with an id is in the queue, durably; the copy in the \\Sent mailbox is part of the same commit.
"""

import asyncio
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from duckmail.errors import (
    AccountDisabled,
    CommitUnknown,
    DailyLimitReached,
    DuckmailError,
    InvalidInput,
    NotFound,
    OverQuota,
    Unavailable,
)
from duckmail.mime import received
from duckmail.model import address as addresses
from duckmail.model.account import Principal, User
from duckmail.model.envelope import Envelope, Recipient
from duckmail.model.mailbox import Mailbox
from duckmail.model.message import Content, NewMessage
from duckmail.model.queue import Origin, OutboundEnvelope, QueueRecipient
from duckmail.model.settings import Settings
from duckmail.runtime.batch import Batched
from duckmail.runtime.log import event
from duckmail.runtime.threads import Pool
from duckmail.services.addressregister import AddressRegister
from duckmail.services.arrived import Contents
from duckmail.services.encryption import Encryption
from duckmail.services.modifications import Modifications, needed
from duckmail.services.queue.queue import NewMail, SentCopy
from duckmail.services.recipients import AddressBook, Resolver
from duckmail.services.refusals import Stage, tell_unread, told
from duckmail.services.senders import Senders
from duckmail.services.sendinglimit import Counters, SendingLimit
from duckmail.services.tracing import Tracing

LOOKUP_SECONDS = 8.0
SUBMIT_SECONDS = 300.0  # a client waits 10 minutes for the answer (RFC 5321 §4.5.3.2.6)
# RFC 5321 §4.5.3.1.1, §4.5.3.1.2: 64 octets of local part, 255 of domain; real local parts are longer, so only the
# sum is held to.
MAX_RECIPIENT = 64 + 1 + 255
SCOPE = "smtp"

_logger = logging.getLogger("duckmail.submission")


class Accounts(Protocol):
    """What is needed of `storage.users.Users`."""

    async def many(self, users: Sequence[str], /) -> dict[str, User]: ...


class Mailboxes(Protocol):
    """What is needed of `storage.mailboxes.Mailboxes`."""

    async def by_special_use(self, user: str, special_use: str, /) -> Mailbox: ...


class SubmissionStore(Protocol):
    """What submission needs of `storage.store.Store`."""

    @property
    def settings(self) -> Settings: ...

    @property
    def addresses(self) -> AddressBook: ...

    @property
    def users(self) -> Accounts: ...

    @property
    def mailboxes(self) -> Mailboxes: ...

    @property
    def contents(self) -> Contents: ...

    @property
    def counters(self) -> Counters: ...


class LocalRecipients(Protocol):
    """What is needed of `duckmail.services.delivery.Delivery`."""

    async def recipient(self, address: str, size: int = 0) -> Recipient: ...


class Queue(Protocol):
    """What is needed of `duckmail.services.queue.queue.Queue`."""

    async def submit(self, message: NewMail, copy: SentCopy | None = None) -> str: ...


@dataclass(frozen=True, slots=True)
class Policy:
    """`hostname`: in Received and in Message-IDs. `rewrite`: the main address takes the place of a sender that is not
    the account's, which else is refused. `client_address`: told in Received. `quota`: octets of accounts without their
    own, 0 for no limit.
    """

    hostname: str
    rewrite: bool = False
    client_address: bool = False
    quota: int = 0


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a message came here. `protocol`: as Received names it (RFC 3848). `host`: the client's address, "" for none.

    `helo`: what the client called itself. `connection`: its id, for the log.
    """

    protocol: str
    host: str = ""
    helo: str = ""
    connection: str = ""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends one message, and as what. `address`: the reverse-path, "" for the null one. `left`: recipients that
    the account may still have today. `arrival`: how its mail comes."""

    user: User
    address: str
    left: int
    arrival: Arrival


class Submission:
    """Takes messages from those who are signed in: `sender`, `recipient` for each, then `submit`."""

    def __init__(
        self,
        store: SubmissionStore,
        local: LocalRecipients,
        queue: Queue,
        pool: Pool,
        policy: Policy,
        *,
        register: AddressRegister | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        """`register`: notes who writes to whom. `tracing`: told what is refused; None: nobody is."""
        self._register = register
        self._tracing = tracing
        self._store = store
        self._local = local
        self._queue = queue
        self._modifications = Modifications(pool, policy.hostname)
        self._policy = policy
        self._limit = SendingLimit(store.counters)
        self._encryption: Encryption[Content] = Encryption(store.contents, pool)
        self._resolver = Resolver(store.addresses, store.settings)
        self._users: Batched[str, User] = Batched(store.users.many)
        self._senders = Senders(self._resolver, policy.rewrite)

    async def sender(self, principal: Principal, address: str, arrival: Arrival) -> Sender:
        """Who sends, for one message. `address`: the reverse-path, "" for the null one.

        Raises:
            NotPermitted: the address is not the account's.
            AccountDisabled: the account may not send any more.
            Unavailable: nobody can say now.
        """
        with told(self._tracing, Stage.SENDER, _seen(address, arrival), user=principal.user):
            try:
                async with asyncio.timeout(LOOKUP_SECONDS):
                    return await self._sender(principal, address, arrival)
            except TimeoutError:
                raise Unavailable(user=principal.user, reason="look-up timed out") from None

    async def _sender(self, principal: Principal, address: str, arrival: Arrival) -> Sender:
        user = await self._users.get(principal.user)
        if user is None or not user.active or SCOPE in user.disabled_scopes:
            raise AccountDisabled
        if address:
            address = await self._senders.reverse_path(user, address)
        return Sender(user, address, await self._limit.left(user), arrival)

    async def recipient(self, sender: Sender, address: str, size: int = 0, named: int = 0) -> None:
        """Whether the message may go to this address.

        Args:
            size: octets of the message, 0 when not known yet.
            named: recipients that the message has already.

        Raises:
            DailyLimitReached: the account has no more recipients today.
            InvalidInput: no mail address that anybody delivers to.
            NotFound, AccountDisabled, OverQuota: somebody here, and he gets no mail.
            Unavailable: nobody can say now.
        """
        with told(self._tracing, Stage.RECIPIENT, _seen(sender.address, sender.arrival), address, sender.user.id):
            await self._recipient(sender, address, size, named)

    def unread(self, sender: Sender, recipients: Sequence[QueueRecipient], text: str, size: int) -> None:
        """A message was thrown away; the client was told `text`."""
        envelope = replace(_seen(sender.address, sender.arrival), size=size)
        named = [Recipient(each.address, "") for each in recipients]
        tell_unread(self._tracing, envelope, named, text, sender.user.id)

    async def _recipient(self, sender: Sender, address: str, size: int, named: int) -> None:
        if named >= sender.left:
            raise DailyLimitReached(user=sender.user.id)
        domain = checked_domain(address)
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                local = await self._resolver.is_local(domain)
        except TimeoutError:
            raise Unavailable(address=address, reason="look-up timed out") from None
        if local:
            await self._local.recipient(address, size)
        elif "." not in domain:
            raise InvalidInput("The domain is not fully qualified")

    async def submit(
        self,
        sender: Sender,
        envelope: OutboundEnvelope,
        recipients: Sequence[QueueRecipient],
        raw: bytes | bytearray,
    ) -> str:
        """Puts the message into the queue, durably; its id there.

        Args:
            envelope: as the client said; its `sender` is that of `sender`, `body` and `smtputf8` become what the
                message needs.
            raw: with CRLF line ends; is used up.

        Raises:
            InvalidInput: the message cannot be sent as it is.
            NotPermitted: From or Sender name somebody else.
            DailyLimitReached: more recipients than the account may have today.
            Unavailable, CommitUnknown.
        """
        arrival = sender.arrival
        with told(self._tracing, Stage.MESSAGE, _seen(sender.address, arrival), user=sender.user.id):
            try:
                async with asyncio.timeout(SUBMIT_SECONDS):
                    return await self._submit(sender, envelope, recipients, raw, arrival)
            except TimeoutError:
                raise CommitUnknown(user=sender.user.id, connection=arrival.connection) from None

    async def _submit(
        self,
        sender: Sender,
        envelope: OutboundEnvelope,
        recipients: Sequence[QueueRecipient],
        raw: bytes | bytearray,
        arrival: Arrival,
    ) -> str:
        message = await self._modifications.read(raw)
        replaced = {
            name: lines
            for name in (b"from", b"sender")
            if (lines := await self._senders.replacement(sender.user, sender.address, message, name))
        }
        envelope = needed(envelope, sender.address, recipients, message, replaced)
        content = await self._store.contents.prepare(await self._modifications.edited(raw, message, replaced))
        mail = NewMail(
            user=sender.user.id,
            origin=Origin.SUBMISSION,
            envelope=envelope,
            recipients=recipients,
            content=content,
            prefix=self._received(arrival),
            message_id=content.summary.message_id,
        )
        await self._limit.count(sender.user, len(recipients))
        try:
            identifier = await self._queued(mail, await self._copy(sender.user, content), arrival)
        except CommitUnknown:
            raise
        except DuckmailError:
            await self._limit.give_back(sender.user, len(recipients))
            raise
        if self._register is not None:
            for recipient in recipients:
                self._register.note(sender.user.id, recipient.address)
        return identifier

    def _received(self, arrival: Arrival) -> bytes:
        """RFC 5321 §4.4. Where the client is concerns nobody else (§7.6): unless configured, neither its address nor
        the name it gave itself, which often is its address, is told."""
        client = "client (authenticated)"
        if self._policy.client_address:
            client = received.client(arrival.helo, arrival.host)
        return received.received(
            client=client,
            hostname=self._policy.hostname,
            protocol=arrival.protocol,
            identifier=uuid.uuid4().hex,
            now=datetime.now(UTC),
        )

    async def _copy(self, user: User, content: Content) -> SentCopy | None:
        """The copy for the \\Sent mailbox, where the account wants one and has such a mailbox."""
        if not user.upload_sent_messages:
            return None
        try:
            mailbox = await self._store.mailboxes.by_special_use(user.id, "\\Sent")
        except NotFound:
            event(_logger, logging.INFO, "no copy", user=user.id, reason="no mailbox for sent mail")
            return None
        new = NewMessage(content, flags=("\\Seen",))
        new = await self._encryption.stored(user.id, user, new, mailbox=mailbox.encrypt_messages)
        return SentCopy(mailbox.id, new, user.quota(self._policy.quota))

    async def _queued(self, mail: NewMail, copy: SentCopy | None, arrival: Arrival) -> str:
        """Mail goes out even if its copy cannot be kept."""
        try:
            return await self._queue.submit(mail, copy)
        except (OverQuota, NotFound) as error:
            if copy is None:
                raise
            event(
                _logger, logging.INFO, "no copy", user=mail.user, connection=arrival.connection,
                reason=type(error).__name__,
            )  # fmt: skip
            return await self._queue.submit(mail, None)


def _seen(sender: str, arrival: Arrival) -> Envelope:
    """What is known of a message that is not there yet."""
    return Envelope(
        sender, arrival.protocol, host=arrival.host, helo=arrival.helo, connection=arrival.connection, vouched=True
    )


def checked_domain(address: str) -> str:
    """The domain of a recipient. Raises: InvalidInput."""
    domain = addresses.split(address)[1]
    if len(address.encode()) > MAX_RECIPIENT:
        raise InvalidInput("The address is too long")
    if domain.startswith("["):
        raise InvalidInput("Address literals are not delivered to")
    try:
        name = addresses.ascii_domain(domain)
    except ValueError:
        raise InvalidInput("The domain is no host name") from None
    # What looks like an IPv4 address would be taken for one when a connection is made to it.
    if name.rpartition(".")[2].isdigit():
        raise InvalidInput("The domain is no host name")
    return domain
