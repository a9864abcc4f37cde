"""What becomes of a message for one account: filed, marked, dropped, sent on, answered (DESIGN §5 Delivery).

- Who has no filter, target, autoreply or list of domains, and gets no spam, does not come through here.
- What is sent on or answered goes into the queue in the same commit as the message; where no message is stored, in a
  commit of its own, under a key made of the delivery's: a relay's retry sends nothing twice.
- Spam is neither sent on nor answered. What cannot be sent on is kept all the same.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from duckmail.errors import CommitUnknown, DuckmailError, NotFound
from duckmail.model.account import Quota, User
from duckmail.model.envelope import Recipient
from duckmail.model.filters import Filter, FilterAction, decide, matching
from duckmail.model.mailbox import Mailbox
from duckmail.model.message import Appended, Content, NewMessage
from duckmail.model.rules import Rules
from duckmail.model.spam import is_spam
from duckmail.runtime.log import event
from duckmail.runtime.threads import Pool
from duckmail.services.arrived import Arrived, Prepared
from duckmail.services.encryption import Encryption
from duckmail.services.onward import Onward, OnwardStore, Outgoing
from duckmail.services.queue.forward import Forwarding
from duckmail.services.queue.queue import NewMail, Queue
from storage.filters import Autoreplies, DomainAccess, Filters
from storage.mongo.client import Document

INLINE = 64 * 1024  # octets of a message whose text is made on the event loop; larger ones in a thread (H7)

_logger = logging.getLogger("duckmail.delivery")


class Mailboxes(Protocol):
    """What is needed of `storage.mailboxes.Mailboxes`."""

    async def get(self, user: str, mailbox: str, /) -> Mailbox: ...

    async def by_special_use(self, user: str, special_use: str, /) -> Mailbox: ...


class SortingStore(OnwardStore, Protocol):
    """What sorting needs of `storage.store.Store`."""

    @property
    def filters(self) -> Filters: ...

    @property
    def autoreplies(self) -> Autoreplies: ...

    @property
    def domain_access(self) -> DomainAccess: ...

    @property
    def mailboxes(self) -> Mailboxes: ...

    async def insert(self, content: Content, /) -> None: ...

    async def append(
        self, user: str, mailbox: str, messages: Sequence[NewMessage], quota: Quota, *, queued: Sequence[Document] = ()
    ) -> list[Appended]: ...


class Sorting:
    """`hostname`: in Message-IDs of answers. `pool`: for texts and encryption."""

    def __init__(self, store: SortingStore, queue: Queue, forwarding: Forwarding, pool: Pool, hostname: str) -> None:
        self._store = store
        self._queue = queue
        self._onward = Onward(store, queue, forwarding, hostname)
        self._pool = pool
        self._encryption: Encryption[Prepared] = Encryption(store.contents, pool)

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
        outgoing = Outgoing([], [])
        try:
            if recipient.targets:
                await self._onward.only_forward(mail, recipient, rules, message.delivery_key, outgoing)
                return None
            appended = await self._file(mail, recipient, rules, message, outgoing)
        except CommitUnknown:
            raise
        except DuckmailError:
            await self._onward.count_back(outgoing)
            raise
        if appended is not None and appended.duplicate:
            await self._onward.count_back(outgoing)
        return appended

    async def _file(
        self, mail: Arrived, recipient: Recipient, rules: Rules, message: NewMessage, outgoing: Outgoing
    ) -> Appended | None:
        action = await self._action(mail, recipient, rules)
        sent = mail
        if not action.spam:
            targets = [*action.targets, *(() if action.delete else rules.targets)]
            if targets and rules.encrypt_forwarded:
                sent = await self._sealed(mail, recipient, rules)
            sent_on = await self._onward.send_on(sent, recipient, rules, targets, outgoing)
            message = replace(message, details=replace(message.details, forwarded=sent_on))
            await self._onward.answer(mail, recipient, rules, outgoing)
        if action.delete:
            await self._onward.submit(outgoing.letters, message.delivery_key)
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
