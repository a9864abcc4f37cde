"""Whether mail for an address would be accepted now: before there is a message, at RCPT."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from duckmail.errors import AccountDisabled, DuckmailError, NotFound, OverQuota, Unavailable
from duckmail.model.account import AMPLE_ROOM, DEFAULT_LIMITS, User
from duckmail.model.envelope import Recipient
from duckmail.model.mailbox import Inbox
from duckmail.model.rules import Rules
from duckmail.model.settings import Settings
from duckmail.runtime import metrics
from duckmail.runtime.batch import Batched
from duckmail.services.arrivals import Arrivals
from duckmail.services.recipients import AddressBook, Resolver
from duckmail.services.srs import Srs
from duckmail.services.targets import usable
from storage.addresses import AddressRecord

LOOKUP_SECONDS = 8.0
RECIPIENT_SECONDS = 1.0  # a recipient is remembered: mail comes in bursts, and a look-up costs as much as a commit
RECIPIENTS = 10_000  # remembered at most

# How a look-up is counted that ended so; every other error is temporary.
_FOUND = {NotFound: "unknown", AccountDisabled: "disabled", OverQuota: "full"}


class Accounts(Protocol):
    """What is needed of `storage.users.Users`."""

    async def many(self, users: Sequence[str], /) -> dict[str, User]: ...


class Mailboxes(Protocol):
    """What is needed of `storage.mailboxes.Mailboxes`."""

    async def inboxes(self, users: Sequence[str], /) -> dict[str, Inbox]: ...


class RecipientStore(Protocol):
    """What is needed of `storage.store.Store` to know a recipient."""

    @property
    def addresses(self) -> AddressBook: ...

    @property
    def users(self) -> Accounts: ...

    @property
    def mailboxes(self) -> Mailboxes: ...


class RuleBook(Protocol):
    """What accounts want done with their mail; `duckmail.services.sorting.Sorting` is one."""

    async def rules(self, users: Mapping[str, User], /) -> dict[str, Rules]: ...


@dataclass(frozen=True, slots=True)
class _Account:
    user: User
    inbox: Inbox | None
    rules: Rules | None = None


class Acceptance:
    """Args: as `duckmail.services.delivery.Delivery` has them; `rules` is its `sorter`."""

    def __init__(
        self,
        store: RecipientStore,
        quota: int,
        received: int,
        settings: Settings,
        *,
        rules: RuleBook | None,
        arrivals: Arrivals | None,
        srs: Srs | None,
    ) -> None:
        self._store = store
        self._quota = quota
        self._received = received
        self._settings = settings
        self._rules = rules
        self._arrivals = arrivals
        self._srs = srs
        self._resolver = Resolver(store.addresses, settings)
        self._accounts: Batched[str, _Account] = Batched(self._load_accounts)
        self._known: OrderedDict[str, tuple[float, Recipient]] = OrderedDict()

    async def recipient(self, address: str, size: int) -> Recipient:
        """Resolves a recipient; whether a message of `size` octets (0: unknown) would be accepted now.

        Raises:
            DuckmailError: as `duckmail.services.delivery.Delivery.recipient`.
        """
        known = self._known.get(address)
        if known is not None and known[0] > time.monotonic():
            if self._arrivals is not None:
                self._arrivals.check(known[1].account, known[1].received_max)
            metrics.RECIPIENTS["accepted"].inc()
            return known[1]
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                bounced = self._srs.recipient(address) if self._srs is not None else None
                recipient = bounced or await self._look_up(address, size)
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
            raise AccountDisabled("This address receives no mail", account=record.user or "")
        if not record.user:
            return self._forwarded(address, record)
        account = await self._accounts.get(record.user)
        if account is None:
            raise NotFound("No such recipient here")
        if not account.user.active:
            raise AccountDisabled("This account receives no mail", account=record.user)
        if account.inbox is None:
            raise Unavailable(account=record.user, reason="no INBOX")
        quota, inbox = account.user.quota(self._quota), account.inbox
        # Even a message that no size was declared of needs an octet.
        if not quota.allows(inbox.used + max(size, 1), inbox.messages + 1):
            raise OverQuota("Mailbox full", account=record.user)
        # With ample room the transaction need not add up its mailboxes. Nearer to the quota each message is decided
        # inside its transaction (DESIGN §4).
        if quota.octets - inbox.used >= AMPLE_ROOM:
            quota = replace(quota, octets=0)
        received = (account.user.limits.received_max or self._received) if self._received else 0
        if self._arrivals is not None:
            self._arrivals.check(record.user, received)
        return Recipient(
            address,
            record.user,
            account.inbox.mailbox,
            quota,
            rules=account.rules,
            spam_level=account.user.spam_level,
            received_max=received,
        )

    def _forwarded(self, address: str, record: AddressRecord) -> Recipient:
        targets = tuple(filter(usable, record.targets))
        if not targets or self._rules is None:
            # Mail is kept by the relay rather than lost.
            raise Unavailable("Forwarding is not available now", address=address)
        forwards = record.forwards or self._settings.limits.forwards or DEFAULT_LIMITS.forwards
        rules = Rules(autoreply=record.autoreply, forwards=forwards, address=record.address, name=record.name)
        return Recipient(address, record.id, targets=targets, rules=rules)

    async def _load_accounts(self, ids: list[str]) -> dict[str, _Account]:
        # Not a TaskGroup: it would wrap `Unavailable` into a group.
        users, inboxes = await asyncio.gather(self._store.users.many(ids), self._store.mailboxes.inboxes(ids))
        rules = await self._rules.rules(users) if self._rules is not None else {}
        return {id_: _Account(user, inboxes.get(id_), rules.get(id_)) for id_, user in users.items()}
