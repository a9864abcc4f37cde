"""Mail that an account sends by the API: written anew, from a draft of its own, or a stored message sent on.

- What goes out and the copy in the account's mailbox are one commit. Bcc stays in the copy alone.
- From and Sender name the account, or its main address takes their place; so does the envelope.
- Recipients of a day are counted before, and counted back if nothing was queued.
- A draft goes out once, whoever asks how often: its id is the key of what is queued.
"""

import asyncio
import hashlib
import logging
import uuid
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import format_datetime

from duckmail.errors import (
    AccountDisabled,
    CommitUnknown,
    DuckmailError,
    InvalidInput,
    LimitReached,
    NoRecipients,
    NoSuchMessage,
    NotADraft,
    OverQuota,
    TooLarge,
)
from duckmail.mime import outgoing
from duckmail.mime.address import addresses as address_list
from duckmail.mime.header import decode
from duckmail.mime.outgoing import Outgoing
from duckmail.model.account import NO_QUOTA, Principal, Quota, User
from duckmail.model.composition import Action, Composition
from duckmail.model.flags import DRAFT, to_names
from duckmail.model.mailbox import Mailbox
from duckmail.model.message import Appended, Details, NewMessage
from duckmail.model.queue import Origin, OutboundEnvelope, QueueRecipient
from duckmail.runtime.budget import OctetBudget
from duckmail.runtime.log import event
from duckmail.runtime.threads import Pool
from duckmail.services import names
from duckmail.services.access import require_account
from duckmail.services.addressregister import AddressRegister
from duckmail.services.compose import Composer, unique, wire_address
from duckmail.services.encryption import Encryption
from duckmail.services.files import UserFiles
from duckmail.services.messages.access import owned_mailbox
from duckmail.services.messages.changing import Changing, MessageChanges
from duckmail.services.modifications import Modifications, needed
from duckmail.services.queue.queue import NewMail, Queue, SentCopy
from duckmail.services.senders import Senders
from duckmail.services.sendinglimit import SendingLimit
from duckmail.services.submission import checked_domain
from storage.contents.prepared import PreparedContent
from storage.documents import to_details
from storage.mongo.client import Document
from storage.store import Store

BUDGET_SECONDS = 30.0
SEND_SECONDS = 300.0

_RECIPIENT_FIELDS = (b"to", b"cc", b"bcc")
_NOT_SENT = frozenset({b"bcc", b"resent-bcc", b"return-path"})
_FLAGS = {
    Action.REPLY: ("\\Answered",),
    Action.REPLY_ALL: ("\\Answered",),
    Action.FORWARD: ("\\Answered", "$Forwarded"),
}

_logger = logging.getLogger("duckmail.sending")


@dataclass(frozen=True, slots=True)
class Policy:
    """`recipients`: most of one message. `largest`: octets of one. `quota`: octets of accounts without their own."""

    hostname: str
    recipients: int = 400
    largest: int = 64 << 20
    quota: int = 0


@dataclass(frozen=True, slots=True)
class Dispatch:
    """What becomes of a new message. `mailbox`: where it is kept, "" for the usual one.

    `draft`: (mailbox, UID) of the draft that it takes the place of. `upload_only`: it is kept and not sent.
    `due`: when it is sent. `sender`, `recipients`: of the envelope, those of the message when "" or None.
    """

    mailbox: str = ""
    is_draft: bool = False
    draft: tuple[str, int] | None = None
    upload_only: bool = False
    due: datetime | None = None
    sender: str = ""
    recipients: Sequence[str] | None = None
    meta_data: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Sent:
    """`queue_id`: "" when it was not sent. `uid`: of what is kept, 0 when there was no room for it."""

    queue_id: str
    mailbox: str
    uid: int
    size: int


@dataclass(frozen=True, slots=True)
class _Mail:
    """A message and what is to be done with it. `key`: see `NewMail`."""

    raw: bytearray = field(repr=False)
    sender: str
    recipients: Sequence[str]
    flags: tuple[str, ...]
    details: Details
    quota: Quota
    due: datetime | None = None
    key: bytes | None = None


class Sending:
    def __init__(  # noqa: PLR0917 -- parts that exist once
        self,
        store: Store,
        queue: Queue,
        composer: Composer,
        senders: Senders,
        files: UserFiles,
        changing: Changing,
        threads: Pool,
        budget: OctetBudget,
        policy: Policy,
        *,
        encryption: Encryption[PreparedContent],
        register: AddressRegister | None = None,
    ) -> None:
        self._store = store
        self._encryption = encryption
        self._queue = queue
        self._composer = composer
        self._senders = senders
        self._files = files
        self._changing = changing
        self._threads = threads
        self._budget = budget
        self._policy = policy
        self._register = register
        self._limit = SendingLimit(store.counters)
        self._modifications = Modifications(threads, policy.hostname)

    # -- a new message ---------------------------------------------------------------------------------------------

    async def submit(self, user: str, wanted: Composition, how: Dispatch, by: Principal) -> Sent:
        """Writes a message, keeps it, and sends it unless it is a draft or only to be kept.

        Raises: NotFound (the account), AccountDisabled, NoSuchMailbox, InvalidInput, NoRecipients, LimitReached,
            DailyLimitReached, TooLarge, OverQuota (of what is only kept), NotPermitted, Unavailable, CommitUnknown.
        """
        require_account(by, user)
        account = await self._account(user)
        mailbox = await self._mailbox(account, how)
        due = _later(how.due)
        if not (how.is_draft or how.upload_only):
            # Who nobody can write to is left out of To, as the reference does it.
            to = [each for each in wanted.to if await self._senders.reachable(each[1])]
            wanted = replace(wanted, to=to)
        composed = await self._composer.compose(account, wanted, due)
        details = replace(composed.details, meta_data=how.meta_data)
        quota = account.quota(self._policy.quota)
        if how.is_draft or how.upload_only:
            flags = ("\\Seen", "\\Draft") if how.is_draft else ("\\Seen",)
            content = await self._store.contents.examine(composed.raw)
            new = await self._stored(account, mailbox, NewMessage(content, flags, details=details))
            (kept,) = await self._store.append(account.id, mailbox.id, [new], quota)
            sent = Sent("", mailbox.id, kept.uid, new.content.size)
        else:
            recipients = composed.recipients if how.recipients is None else unique(map(wire_address, how.recipients))
            sender = how.sender or composed.sender
            mail = _Mail(composed.raw, sender, recipients, ("\\Seen",), details, quota, due)
            sent = await self._send(account, mailbox, mail)
        if how.draft is not None:
            await self._afterwards(account.id, self._forget(account.id, *how.draft), "removing a draft")
        if sent.queue_id and details.reference:
            await self._afterwards(account.id, self._mark(account.id, details), "marking what was answered")
        return sent

    async def _account(self, user: str) -> User:
        account = await self._store.users.get(user)
        if not account.active:
            raise AccountDisabled("User account is disabled", user=user)
        return account

    async def _mailbox(self, account: User, how: Dispatch) -> Mailbox:
        if how.mailbox:
            return await self._store.mailboxes.get(account.id, how.mailbox)
        return await self._store.mailboxes.by_special_use(account.id, "\\Drafts" if how.is_draft else "\\Sent")

    async def _stored(self, account: User, mailbox: Mailbox, new: NewMessage) -> NewMessage:
        return await self._encryption.stored(account.id, account, new, mailbox=mailbox.encrypt_messages)

    # -- a draft ---------------------------------------------------------------------------------------------------

    async def submit_draft(
        self,
        user: str,
        mailbox: str,
        uid: int,
        by: Principal,
        *,
        due: datetime | None = None,
        delete_files: bool = False,
    ) -> Sent | None:
        """Sends a draft, which goes to \\Sent; None when it names nobody, and it stays what it is.

        Raises: NotADraft, NoSuchMessage, and as `submit`.
        """
        source = await owned_mailbox(self._store, user, mailbox, by)
        account = await self._account(user)
        document = await self._store.listing.one(user, mailbox, uid)
        if document is None:
            raise NoSuchMessage
        if not int(document["flags"]) & DRAFT:
            raise NotADraft
        due, details = _later(due), to_details(document)
        async with self._budget.reserve(3 * int(document["size"]), BUDGET_SECONDS):
            raw = await self._octets(document)
            message = await self._modifications.read(raw)
            recipients = [each for each in _recipients(message) if await self._senders.reachable(each)]
            if not recipients:
                return None
            target = await self._store.mailboxes.by_special_use(user, "\\Sent")
            date = f"Date: {format_datetime(due or datetime.now(UTC))}\r\n".encode()
            await self._threads.run(outgoing.edit, raw, message, frozenset({b"date"}), {}, date)
            flags = [name for name in to_names(int(document["flags"]), source.keywords) if name not in _DRAFT_FLAGS]
            key = hashlib.sha256(b"draft\0" + str(document["_id"]).encode()).digest()
            # It leaves as much room as it takes.
            mail = _Mail(
                raw, _from(message), recipients, tuple(dict.fromkeys((*flags, "\\Seen"))), details, NO_QUOTA, due, key
            )
            sent = await self._send(account, target, mail)
        await self._afterwards(user, self._forget(user, mailbox, uid), "removing a draft")
        await self._afterwards(user, self._mark(user, details), "marking what was answered")
        if delete_files:
            named = [file for file, *_ in details.files]
            await self._afterwards(user, self._files.remove(user, named), "removing files")
        return sent

    async def _octets(self, document: Document) -> bytearray:
        loaded = await self._store.contents.load([str(document["content"])])
        raw = bytearray(document.get("prefix", b""))
        for content in loaded.values():
            async for piece in content.read():
                raw += piece
        return raw

    # -- both ------------------------------------------------------------------------------------------------------

    async def _send(self, account: User, mailbox: Mailbox, mail: _Mail) -> Sent:
        recipients = await self._checked(mail.recipients)
        if not recipients:
            raise NoRecipients
        if len(recipients) > self._store.settings.given("const:max:rcpt_to", self._policy.recipients):
            raise LimitReached("Your email has too many recipients", user=account.id)
        try:
            async with asyncio.timeout(SEND_SECONDS):
                return await self._queued(account, mailbox, mail, recipients)
        except TimeoutError:
            raise CommitUnknown(user=account.id) from None

    async def _checked(self, recipients: Sequence[str]) -> list[QueueRecipient]:
        """Raises: InvalidInput: one of them is nobody that mail can go to. Unavailable."""
        for address in recipients:
            checked_domain(address)
            if not await self._senders.reachable(address):
                raise InvalidInput("The domain is not fully qualified")
        return [QueueRecipient(address) for address in recipients]

    async def _queued(self, account: User, mailbox: Mailbox, mail: _Mail, recipients: Sequence[QueueRecipient]) -> Sent:
        if not (mail.sender or account.address):
            raise InvalidInput("The account has no address")
        sender = await self._senders.reverse_path(account, mail.sender or account.address)
        message = await self._modifications.read(mail.raw)
        replaced = {
            name: lines
            for name in (b"from", b"sender")
            if (lines := await self._senders.replacement(account, sender, message, name))
        }
        kept = mail.raw
        # A bytearray is changed in place.
        added = self._modifications.identified(message)
        await self._threads.run(outgoing.edit, kept, message, _unnamed(message), replaced, added)
        if len(kept) > self._policy.largest:
            raise TooLarge
        content = kept_content = await self._store.contents.examine(kept)
        if any(one.name in _NOT_SENT for one in message.fields):
            content = await self._store.contents.prepare(await self._threads.run(_without, kept))
        new = NewMail(
            user=account.id,
            origin=Origin.API,
            envelope=needed(OutboundEnvelope(sender), sender, recipients, message, replaced),
            recipients=recipients,
            content=content,
            prefix=self._received(),
            due=mail.due,
            key=mail.key,
            message_id=content.summary.message_id,
        )
        kept_copy = await self._stored(account, mailbox, NewMessage(kept_content, mail.flags, details=mail.details))
        copy = SentCopy(mailbox.id, kept_copy, mail.quota)
        identifier, stored = await self._committed(account, new, copy)
        if self._register is not None:
            for recipient in recipients:
                self._register.note(account.id, recipient.address)
        return Sent(identifier, mailbox.id, stored.uid if stored else 0, kept_copy.content.size)

    async def _committed(self, account: User, mail: NewMail, copy: SentCopy) -> tuple[str, Appended | None]:
        """Mail goes out even if its copy cannot be kept."""
        await self._limit.count(account, len(mail.recipients))
        try:
            try:
                return await self._queue.submit_with(mail, copy)
            except OverQuota:
                event(_logger, logging.INFO, "no copy", user=account.id, reason="over quota")
                return await self._queue.submit(mail), None
        except CommitUnknown:
            raise
        except DuckmailError:
            await self._limit.give_back(account, len(mail.recipients))
            raise

    def _received(self) -> bytes:
        """RFC 5321 §4.4."""
        now = format_datetime(datetime.now(UTC))
        return f"Received: by {self._policy.hostname} with HTTP id {uuid.uuid4().hex};\r\n\t{now}\r\n".encode()

    async def _forget(self, user: str, mailbox: str, uid: int) -> None:
        await self._changing.remove(user, mailbox, [uid])

    async def _mark(self, user: str, details: Details) -> None:
        """The message that was answered or forwarded says so."""
        if details.reference:
            action, mailbox, uid = details.reference
            await self._changing.apply(user, mailbox, [uid], MessageChanges(add=_FLAGS[Action(action)]))

    async def _afterwards(self, user: str, work: Awaitable[None], what: str) -> None:
        """The message is on its way, whatever becomes of this."""
        try:
            await work
        except DuckmailError as error:
            event(_logger, logging.WARNING, f"{what} failed", user=user, reason=type(error).__name__)


_DRAFT_FLAGS = frozenset({"\\Draft", "\\Deleted", "\\Seen", "\\Recent"})


def _later(due: datetime | None) -> datetime | None:
    """None when that time is over."""
    return due if due is not None and due > datetime.now(UTC) else None


def _unnamed(message: Outgoing) -> frozenset[bytes]:
    return frozenset() if any(message.bodies(b"message-id")) else frozenset({b"message-id"})


def _without(kept: bytearray) -> bytes | bytearray:
    """What others may see."""
    return outgoing.edit(bytes(kept), outgoing.read(kept), _NOT_SENT, {}, b"")


def _people(message: Outgoing, name: bytes) -> list[str]:
    return [
        decode(b"@".join((entry.mailbox, entry.host)))
        for body in message.bodies(name)
        for entry in address_list(body)
        if entry.mailbox and entry.host
    ]


def _recipients(message: Outgoing) -> list[str]:
    """Those that can be written to; who wrote the draft is told nothing of the others, as the reference does it."""
    named = [address for name in _RECIPIENT_FIELDS for address in _people(message, name)]
    return [wire_address(address) for address in unique(named) if names.is_email(address, least=1)]


def _from(message: Outgoing) -> str:
    """The envelope's sender: the first author."""
    return next(iter(_people(message, b"from")), "")
