"""What becomes of a message for one account: filed, marked, dropped, sent on, answered (DESIGN §5 Delivery).

- Who has no filter, target, autoreply or list of domains, and gets no spam, does not come through here.
- What is sent on or answered goes into the queue in the same commit as the message; where no message is stored, in a
  commit of its own, under a key made of the delivery's: a relay's retry sends nothing twice.
- Spam is neither sent on nor answered. What cannot be sent on is kept all the same.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Protocol

from duckmail.errors import (
    CommitUnknown,
    DuckmailError,
    InvalidInput,
    LimitReached,
    NotFound,
    NotPermitted,
    RateLimited,
)
from duckmail.mime.header import Lookup, decode
from duckmail.mime.summary import Summary
from duckmail.mime.text import decoded_text
from duckmail.model.account import Quota, User
from duckmail.model.address import normalise_domain, split, view
from duckmail.model.envelope import Envelope, Recipient
from duckmail.model.filters import Facts, Filter, FilterAction, decide, matching
from duckmail.model.mailbox import Mailbox
from duckmail.model.message import Appended, Content, NewMessage
from duckmail.model.queue import Notify, Origin, OutboundEnvelope, QueueRecipient
from duckmail.model.rules import Rules
from duckmail.model.settings import Settings
from duckmail.model.spam import NEVER_FORWARDED, Spam, is_spam
from duckmail.model.target import shown
from duckmail.runtime.log import event
from duckmail.runtime.threads import Pool
from duckmail.services.addresses import forwards_key
from duckmail.services.autoreply import INTERVAL, compose, may_answer
from duckmail.services.encryption import Encryption
from duckmail.services.queue.forward import Forwarding
from duckmail.services.queue.queue import NewMail, Queue
from duckmail.services.targets import usable
from storage.filters import Autoreplies, DomainAccess, Filters
from storage.mongo.client import Document
from storage.redis.counters import Count

DAY = 24 * 3600
LONGEST_WAIT = 10_000 * DAY  # what Redis takes as a time to live, by far
MAX_LINES = 50  # fields of one name that conditions look at
MAX_VALUE = 65536  # octets of one
MAX_TEXT = 1 << 20  # characters of text that conditions look at
INLINE = 64 * 1024  # octets of a message whose text is made on the event loop; larger ones in a thread (H7)

_logger = logging.getLogger("duckmail.delivery")


class Prepared(Content, Protocol):
    """`storage.contents.prepared.PreparedContent`."""

    @property
    def summary(self) -> Summary: ...


class Mailboxes(Protocol):
    """What is needed of `storage.mailboxes.Mailboxes`."""

    async def get(self, user: str, mailbox: str, /) -> Mailbox: ...

    async def by_special_use(self, user: str, special_use: str, /) -> Mailbox: ...


class Contents(Protocol):
    """What is needed of `storage.contents.Contents`."""

    async def prepare(self, raw: bytes | bytearray, /) -> Prepared: ...

    async def examine(self, raw: bytes | bytearray, /) -> Prepared: ...


class Counters(Protocol):
    """What is needed of `storage.redis.counters.Counters`."""

    async def incr(self, key: str, window: int, by: int = 1) -> Count: ...


class SortingStore(Protocol):
    """What sorting needs of `storage.store.Store`."""

    @property
    def filters(self) -> Filters: ...

    @property
    def autoreplies(self) -> Autoreplies: ...

    @property
    def domain_access(self) -> DomainAccess: ...

    @property
    def mailboxes(self) -> Mailboxes: ...

    @property
    def contents(self) -> Contents: ...

    @property
    def counters(self) -> Counters: ...

    @property
    def settings(self) -> Settings: ...

    async def insert(self, content: Content, /) -> None: ...

    async def append(
        self, user: str, mailbox: str, messages: Sequence[NewMessage], quota: Quota, *, queued: Sequence[Document] = ()
    ) -> list[Appended]: ...


class Arrived:
    """A message as it has come, for all its recipients."""

    def __init__(
        self,
        envelope: Envelope,
        raw: bytes | bytearray,
        content: Prepared,
        header: Lookup,
        spam: Spam,
        *,
        lines: bytes = b"",
    ) -> None:
        """`lines`: of the header, what was found out about who it is from."""
        self.envelope = envelope
        self.raw = raw
        self.content = content
        self.header = header
        self.spam = spam
        self.lines = lines
        self.decisions: dict[str, dict[str, object]] = {}  # by account: what was decided, and by what

    @cached_property
    def from_domain(self) -> str:
        """Of the first address in From, normalised; "" without one."""
        found = self.content.summary.from_
        return normalise_domain(split(found[0][1])[1]) if found else ""

    @cached_property
    def facts(self) -> Facts:
        return Facts(
            from_=self._values(b"from", b"sender"),
            to=self._values(b"to", b"cc", b"delivered-to"),
            subject=self._values(b"subject"),
            list_id=self._values(b"list-id"),
            size=len(self.raw),
            attachments=any(not each.related for each in self.content.summary.attachments),
            text=self._text,
        )

    def _values(self, *names: bytes) -> str:
        lines = [value for name in names for value in self.header.all(name)[:MAX_LINES]]
        return "\n".join(decode(value[:MAX_VALUE]).lower() for value in lines)

    def _text(self) -> str:
        return "".join(decoded_text(self.raw, self.content.index, MAX_TEXT)).lower()


@dataclass(slots=True)
class _Outgoing:
    """What a message brings about: `letters` go out, unless the delivery fails; then `counted` is counted back."""

    letters: list[NewMail]
    counted: list[tuple[str, int, int]]  # key, window, by


class Sorting:
    """`hostname`: in Message-IDs of answers."""

    def __init__(self, store: SortingStore, queue: Queue, forwarding: Forwarding, pool: Pool, hostname: str) -> None:
        self._store = store
        self._queue = queue
        self._forwarding = forwarding
        self._pool = pool
        self._encryption: Encryption[Prepared] = Encryption(store.contents, pool)
        self._hostname = hostname

    async def rules(self, users: Mapping[str, User]) -> dict[str, Rules]:
        """What each account has; who has nothing is absent, and costs no query. Raises: Unavailable."""
        filtered = [user.id for user in users.values() if user.filtered]
        answering = [user.id for user in users.values() if user.autoreply]
        tags = {tag.lower() for user in users.values() for tag in user.tags}
        filters = await self._store.filters.enabled(filtered) if filtered else {}
        autoreplies = await self._store.autoreplies.many(answering) if answering else {}
        used = await self._store.domain_access.used(list(tags)) if tags else set()
        found: dict[str, Rules] = {}
        for user in users.values():
            own_tags = tuple(tag.lower() for tag in user.tags if tag.lower() in used) if used else ()
            own_filters = tuple(filters.get(user.id, ()))
            autoreply = autoreplies.get(user.id)
            if own_filters or user.targets or autoreply or own_tags or user.pub_key:
                forwards = user.allowed.forwards
                found[user.id] = Rules(
                    own_filters,
                    user.targets,
                    autoreply,
                    own_tags,
                    forwards,
                    user.address,
                    user.name,
                    user.pub_key,
                    encrypt_messages=user.encrypt_messages,
                    encrypt_forwarded=user.encrypt_forwarded and bool(user.pub_key),
                )
        return found

    async def deliver(self, mail: Arrived, recipient: Recipient, message: NewMessage) -> Appended | None:
        """Carries out what the account, or an address that only forwards, wants with the message. None: it is dropped,
        or has only been sent on.

        Raises: DuckmailError: nothing was done, or (CommitUnknown) nobody knows.
        """
        rules = recipient.rules or Rules()
        mail.decisions[recipient.account] = {}
        outgoing = _Outgoing([], [])
        try:
            if recipient.targets:
                await self._only_forward(mail, recipient, rules, message.delivery_key, outgoing)
                return None
            appended = await self._file(mail, recipient, rules, message, outgoing)
        except CommitUnknown:
            raise
        except DuckmailError:
            await self._count_back(outgoing)
            raise
        if appended is not None and appended.duplicate:
            await self._count_back(outgoing)
        return appended

    async def _count_back(self, outgoing: _Outgoing) -> None:
        for key, window, number in outgoing.counted:
            await self._store.counters.incr(key, window, -number)

    # -- accounts --------------------------------------------------------------------------------------------------

    async def _file(
        self, mail: Arrived, recipient: Recipient, rules: Rules, message: NewMessage, outgoing: _Outgoing
    ) -> Appended | None:
        action = await self._action(mail, recipient, rules)
        sent = mail
        if not action.spam:
            targets = [*action.targets, *(() if action.delete else rules.targets)]
            if targets and rules.encrypt_forwarded:
                sent = await self._sealed(mail, recipient, rules)
            sent_on = await self._send_on(sent, recipient, rules, targets, outgoing)
            message = replace(message, details=replace(message.details, forwarded=sent_on))
            await self._answer(mail, recipient, rules, outgoing)
        if action.delete:
            await self._submit(outgoing.letters, message.delivery_key)
            event(_logger, logging.INFO, "dropped", connection=mail.envelope.connection, recipient=recipient.address)
            return None
        flags = tuple(flag for flag, wanted in (("\\Seen", action.seen), ("\\Flagged", action.flag)) if wanted)
        message = replace(message, flags=flags)
        sealed = None if sent is mail else sent.content
        for mailbox in dict.fromkeys((await self._mailbox(recipient, action), recipient.inbox)):
            try:
                stored = await self._append(recipient, rules, mailbox, message, outgoing.letters, sealed)
                break
            except NotFound:
                if mailbox == recipient.inbox:
                    raise  # a mailbox that is gone falls back to INBOX, that has to be there
        if not stored.duplicate:
            self._queue.taken(outgoing.letters)
        return stored

    async def _append(  # noqa: PLR0917 -- what one message is made of
        self,
        recipient: Recipient,
        rules: Rules,
        mailbox: str,
        message: NewMessage,
        letters: Sequence[NewMail],
        sealed: Prepared | None,
    ) -> Appended:
        """`sealed`: encrypted already, for others. Raises: NotFound: the mailbox is gone; nothing was done."""
        account = recipient.account
        wants = False
        if rules.pub_key and not rules.encrypt_messages:
            wants = (await self._store.mailboxes.get(account, mailbox)).encrypt_messages
        message = await self._encryption.stored(account, rules, message, mailbox=wants, sealed=sealed)
        for letter in letters:
            if letter.content is not message.content:
                await self._store.insert(letter.content)
        documents = [self._queue.document(letter) for letter in letters]
        return (await self._store.append(account, mailbox, [message], recipient.quota, queued=documents))[0]

    async def _sealed(self, mail: Arrived, recipient: Recipient, rules: Rules) -> Arrived:
        """As others get it: encrypted to the account's key. Raises: Unavailable."""
        content = await self._encryption.content(recipient.account, mail.content, rules.pub_key)
        if content is mail.content:
            return mail
        raw = b"".join([piece async for piece in content.read()])
        sealed = Arrived(mail.envelope, raw, content, mail.header, mail.spam, lines=mail.lines)
        sealed.decisions = mail.decisions  # it is the same message, with the same story
        return sealed

    async def _action(self, mail: Arrived, recipient: Recipient, rules: Rules) -> FilterAction:
        listed = ""
        if rules.tags and mail.from_domain:
            listed = await self._store.domain_access.action(rules.tags, mail.from_domain)
        matched = await self._matching(rules.filters, mail) if rules.filters else []
        action = decide(matched)
        spam = {"block": True, "allow": False}.get(listed, action.spam)
        if recipient.spam_level >= 100:
            spam = False
        elif spam is None:
            spam = is_spam(recipient.spam_level, mail.spam.score)
        mail.decisions[recipient.account] |= {
            "filters": [{"id": each.id, "name": each.name} for each in matched],
            "domainList": listed,
            "spam": spam or None,
        }
        return replace(action, spam=spam)

    async def _matching(self, filters: Sequence[Filter], mail: Arrived) -> list[Filter]:
        if len(mail.raw) > INLINE and any(each.query.text for each in filters):
            return await self._pool.run(matching, filters, mail.facts)
        return matching(filters, mail.facts)

    async def _mailbox(self, recipient: Recipient, action: FilterAction) -> str:
        if action.mailbox:
            return action.mailbox
        if action.spam:
            try:
                return (await self._store.mailboxes.by_special_use(recipient.account, "\\Junk")).id
            except NotFound:
                pass
        return recipient.inbox

    async def _submit(self, letters: Sequence[NewMail], key: bytes | None) -> None:
        """In commits of their own."""
        for letter in letters:
            own = None if key is None else hashlib.sha256(key + letter.origin.value.encode()).digest()
            await self._queue.submit(replace(letter, key=own))

    # -- what goes out ---------------------------------------------------------------------------------------------

    async def _send_on(
        self, mail: Arrived, recipient: Recipient, rules: Rules, targets: Sequence[str], outgoing: _Outgoing
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

    async def _counted(self, key: str, window: int, number: int, most: int, outgoing: _Outgoing) -> bool:
        """Counts; whether it may be."""
        count = await self._store.counters.incr(key, window, number)
        if count.value > most:
            await self._store.counters.incr(key, window, -number)
            return False
        outgoing.counted.append((key, window, number))
        return True

    async def _answer(self, mail: Arrived, recipient: Recipient, rules: Rules, outgoing: _Outgoing) -> None:
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

    # -- addresses that only forward -------------------------------------------------------------------------------

    async def _only_forward(
        self, mail: Arrived, recipient: Recipient, rules: Rules, key: bytes | None, outgoing: _Outgoing
    ) -> None:
        """Raises: InvalidInput: it goes round in circles; NotPermitted: it is spam, or no bounce; RateLimited."""
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
            await self._answer(mail, recipient, rules, outgoing)
        await self._submit(outgoing.letters, key)


def _kind(target: str) -> str:
    scheme = target.partition("://")[0] if "://" in target else ""
    return "http" if scheme.startswith("http") else "relay" if scheme else "mail"


def _tell(mail: Arrived, recipient: Recipient, what: str, reason: str) -> None:
    event(
        _logger, logging.INFO, what, connection=mail.envelope.connection, recipient=recipient.address, reason=reason
    )  # fmt: skip
