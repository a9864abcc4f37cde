"""The outbound queue as everybody else sees it: mail goes in, and can be looked at and handled."""

import hashlib
import re
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from duckmail.errors import InvalidInput, LimitReached
from duckmail.mime.dsn import Action
from duckmail.model.account import Quota
from duckmail.model.message import Appended, Content, NewMessage
from duckmail.model.queue import Notify, Origin, OutboundEnvelope, QueuedMessage, QueueRecipient, State
from duckmail.model.trace import Step, story_id
from duckmail.runtime import metrics
from duckmail.services.queue.reports import Reports
from duckmail.services.tracing import LONGEST_LIST, Tracing
from storage.mongo.client import Document
from storage.queuedocuments import new_document
from storage.store import Store

# Of one message. With what is recorded of each (less than 1,000 octets) they fit MongoDB's 16 MB.
MOST_RECIPIENTS = 10_000
LARGEST_ENVELOPE = 2 << 20  # octets of all addresses together
LONGEST_PREFIX = 64 * 1024  # octets

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_REMOVED = "removed by an administrator"


@dataclass(frozen=True, slots=True)
class NewMail:
    """A message to send. `user`: whose it is, "" for the server's own. `content`: prepared by `store.contents`.

    `prefix`: whole header lines before it. `due`: when it is sent first, at once when None. `key`: a second message of
    the same user with the same key is not taken; the first one's id is given. `vouched`: as `QueuedMessage` has it.
    `message_id`: for its story, "" for none.
    """

    user: str
    origin: Origin
    envelope: OutboundEnvelope
    recipients: Sequence[QueueRecipient]
    content: Content
    prefix: bytes = b""
    due: datetime | None = None
    key: bytes | None = None
    vouched: bool = False
    message_id: str = ""

    @property
    def size(self) -> int:
        return len(self.prefix) + self.content.size


@dataclass(frozen=True, slots=True)
class SentCopy:
    """What the sender keeps. `mailbox`: its id. `quota`: what the account may hold."""

    mailbox: str
    message: NewMessage
    quota: Quota


def _nothing() -> None:
    pass


class Queue:
    def __init__(self, store: Store, reports: Reports, tracing: Tracing | None = None) -> None:
        """`tracing`: told what is taken; None: nobody is."""
        self._store = store
        self._tracing = tracing
        self._reports = reports
        self.woken: Callable[[], None] = _nothing  # called when there is something to send at once

    async def submit(self, mail: NewMail, copy: SentCopy | None = None) -> str:
        """Takes a message, and in the same commit stores the copy; durable on return. Its id in the queue.

        Raises:
            InvalidInput: an address that cannot be sent.
            LimitReached: more recipients than one message can have.
            NotFound, OverQuota: of the copy; nothing was taken.
            Unavailable: nothing was taken. CommitUnknown: nobody knows.
        """
        if copy is not None:
            return (await self.submit_with(mail, copy))[0]
        identifier = await self._store.enqueue(self.document(mail), mail.content)
        self.taken([mail])
        return identifier

    async def submit_stored(self, mail: NewMail) -> str:
        """As `submit`, of a message whose content is in the store."""
        identifier = await self._store.queue.put(self.document(mail))
        self.taken([mail])
        return identifier

    async def submit_with(self, mail: NewMail, copy: SentCopy) -> tuple[str, Appended]:
        """As `submit`; also where the copy went, which says under what id its message is in the queue."""
        document = self.document(mail)
        identifier = str(document["_id"])
        if copy.message.content is not mail.content:  # as where Bcc is kept in the copy
            await self._store.insert(mail.content)
        message = replace(copy.message, details=replace(copy.message.details, outbound=(identifier,)))
        if mail.key is not None:
            # The copy's key stands for both: they are one commit.
            key = hashlib.sha256(b"sent\0" + mail.user.encode() + mail.key).digest()
            message = replace(message, delivery_key=key)
        stored = await self._store.append(mail.user, copy.mailbox, [message], copy.quota, queued=[document])
        if stored[0].duplicate and mail.key is not None:
            identifier = await self._store.queue.by_key(mail.user, mail.key) or identifier
        self.taken([mail])
        return identifier, stored[0]

    def document(self, mail: NewMail) -> Document:
        """What to insert, in a commit of the caller's that has the content too; `taken` when that is done.

        Raises: InvalidInput, LimitReached.
        """
        _check(mail)
        return new_document(
            user=mail.user,
            origin=mail.origin,
            envelope=mail.envelope,
            recipients=mail.recipients,
            content=mail.content.id,
            size=mail.size,
            prefix=mail.prefix,
            due=mail.due,
            key=mail.key,
            vouched=mail.vouched,
        )

    def taken(self, mails: Sequence[NewMail]) -> None:
        """They are in the queue."""
        for mail in mails:
            metrics.QUEUED[mail.origin.value].inc()
            if self._tracing is not None:
                name = story_id(mail.message_id, mail.content.id)
                self._tracing.note(Step.QUEUED, name, mail.user, _about(mail))
        if any(mail.due is None for mail in mails):
            self.woken()

    # -- by hand ---------------------------------------------------------------------------------------------------

    def messages(self, *, ended: bool = False) -> AsyncIterator[QueuedMessage]:
        """Open messages, oldest first; with `ended` also those of the last days that are at their end."""
        return self._store.queue.messages(ended=ended)

    async def page(self, most: int, after: str = "", *, ended: bool = False) -> list[QueuedMessage]:
        """As `messages`, a part of them: those behind `after`. Raises: NotFound (not an id)."""
        return await self._store.queue.page(most, after, ended=ended)

    async def get(self, identifier: str) -> QueuedMessage:
        """Raises: NotFound."""
        return await self._store.queue.get(identifier)

    async def hold(self, identifier: str) -> None:
        """It is not tried until `release`; an attempt under way comes to its end. Raises: NotFound."""
        await self._store.queue.hold(identifier, True)

    async def release(self, identifier: str) -> None:
        """Raises: NotFound."""
        await self._store.queue.hold(identifier, False)
        self.woken()

    async def retry(self, identifier: str | None = None) -> int:
        """Makes the waiting recipients of one message, or of all, due now; how many messages. Raises: NotFound."""
        count = await self._store.queue.retry(identifier)
        if count:
            self.woken()
        return count

    async def remove(self, identifier: str, *, notify: bool = False) -> None:
        """Ends the message for all that wait for it; `notify`: the sender is told, as of a failure.

        Raises: NotFound, InUse: it is being sent right now.
        """
        claim = await self._store.queue.claim_one(identifier, f"by hand {secrets.token_hex(4)}")
        now = datetime.now(UTC)
        state = State.FAILED if notify else State.REMOVED
        recipients = list(claim.message.recipients)
        waiting = [position for position, each in enumerate(recipients) if each.state is State.WAITING]
        for position in waiting:
            recipients[position] = replace(
                recipients[position], state=state, due=None, reply=_REMOVED, status="5.7.1", host=""
            )
        told = [recipients[position] for position in waiting] if notify else []
        told = [recipient for recipient in told if recipient.notify is not Notify.NEVER]
        report = await self._reports.make(claim.message, Action.FAILED, told, now)
        await self._store.queue.finish(claim, recipients, waiting, [report] if report else [])
        if report:
            self.woken()


def _about(mail: NewMail) -> dict[str, object]:
    """For its story."""
    return {
        "origin": mail.origin.value,
        "sender": mail.envelope.sender or "<>",
        "recipients": [each.address for each in mail.recipients[:LONGEST_LIST]],
        "size": mail.size,
        "until": mail.due.isoformat() if mail.due else "",
    }


def _check(mail: NewMail) -> None:
    """What goes into commands and headers holds no line end, whoever made it. Raises: InvalidInput, LimitReached."""
    texts = [mail.envelope.sender, mail.envelope.envid]
    for recipient in mail.recipients:
        texts += [recipient.address, recipient.orcpt]
    if not mail.recipients or any(map(_CONTROL.search, texts)):
        raise InvalidInput("Bad address")
    if len(mail.prefix) > LONGEST_PREFIX or (mail.prefix and not mail.prefix.endswith(b"\r\n")):
        raise InvalidInput("Bad header lines")
    if len(mail.recipients) > MOST_RECIPIENTS or sum(len(text.encode()) for text in texts) > LARGEST_ENVELOPE:
        raise LimitReached("Too many recipients")
