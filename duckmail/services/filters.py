"""Filters, autoreplies and lists of domains as they are managed. What they do is in `sorting`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from duckmail.errors import NotFound
from duckmail.model.account import Principal, User
from duckmail.model.address import normalise_domain
from duckmail.model.autoreply import Autoreply
from duckmail.model.credentials import Trace
from duckmail.model.events import Event, of
from duckmail.model.filters import Filter, FilterAction, FilterQuery
from duckmail.model.mailbox import Mailbox
from duckmail.model.target import shown
from duckmail.runtime.targetpasswords import TargetPasswords
from duckmail.services.access import require_account, require_server
from duckmail.services.authlog import AuthLog
from storage.filters import Autoreplies as AutoreplyRecords
from storage.filters import DomainAccess as DomainRecords
from storage.filters import DomainEntry, FilterSlice
from storage.filters import Filters as Records
from storage.mailboxes import Mailboxes
from storage.users import Users

_NOWHERE = Trace()


class NoSuchMailbox(NotFound):
    default = "This mailbox does not exist"


class UnknownUser(NotFound):
    default = "This user does not exist"


@dataclass(frozen=True, slots=True)
class Owned:
    """An account's filters, and the mailboxes that they name, by id. `most`: how many filters it may have."""

    filters: Sequence[Filter]
    mailboxes: Mapping[str, Mailbox]
    most: int


class Filters:
    def __init__(
        self,
        records: Records,
        users: Users,
        mailboxes: Mailboxes,
        targets: TargetPasswords,
        *,
        authlog: AuthLog | None = None,
    ) -> None:
        """`targets`: seals the passwords in them. `authlog`: where new filters are told, and where they send mail."""
        self._records = records
        self._targets = targets
        self._users = users
        self._mailboxes = mailboxes
        self._authlog = authlog

    async def list(
        self, forward: str, limit: int, by: Principal, after: str = "", before: str = ""
    ) -> tuple[FilterSlice, Mapping[str, Mailbox]]:
        """Of all accounts, with the mailboxes they name. Raises: NotPermitted, Unavailable."""
        require_server(by)
        page = await self._records.list(forward, limit, after, before)
        return page, await self._named(page.filters)

    async def _named(self, filters: Sequence[Filter]) -> Mapping[str, Mailbox]:
        return await self._mailboxes.by_ids([each.action.mailbox for each in filters if each.action.mailbox])

    async def of_user(self, user: str, by: Principal) -> Owned:
        """Raises: UnknownUser, NotPermitted, Unavailable."""
        owner = await self._owner(user, by)
        filters = await self._records.of_user(user)
        return Owned(filters, await self._named(filters), owner.allowed.filters)

    async def _owner(self, user: str, by: Principal) -> User:
        require_account(by, user)
        try:
            return await self._users.get(user)
        except NotFound:
            raise UnknownUser from None

    async def get(self, user: str, identifier: str, by: Principal) -> Filter:
        """Raises: UnknownUser, NotFound, NotPermitted, Unavailable."""
        await self._owner(user, by)
        return await self._records.get(user, identifier)

    async def most(self, user: str, by: Principal) -> int:
        """How many filters the account may have. Raises: UnknownUser, NotPermitted, Unavailable."""
        return (await self._owner(user, by)).allowed.filters

    async def create(self, new: Filter, by: Principal, trace: Trace = _NOWHERE) -> str:
        """Its id. Raises: UnknownUser, NoSuchMailbox, LimitReached, NotPermitted, Unavailable."""
        owner = await self._owner(new.user, by)
        await self._check(new)
        new = replace(new, action=replace(new.action, targets=self._targets.sealed(new.action.targets)))
        made = await self._records.create(
            new,
            owner.allowed.filters,
            lambda made: [of("filter.created", new.user, filter=made), *_forwards(replace(new, id=made), ())],
        )
        if self._authlog is not None:
            await self._authlog.record(new.user, "filter added", "success", trace, filter=made)
        await self._note_forwards(replace(new, id=made), (), trace)
        return made

    async def _note_forwards(self, each: Filter, before: Sequence[str], trace: Trace) -> None:
        if self._authlog is not None:
            await self._authlog.record_forwards(
                each.user, "filter forward added", before, each.action.targets, trace, filter=each.id
            )

    async def update(
        self,
        user: str,
        identifier: str,
        by: Principal,
        *,
        query: Mapping[str, object],
        action: Mapping[str, object],
        others: Mapping[str, object],
        trace: Trace = _NOWHERE,
    ) -> None:
        """Sets attributes of `FilterQuery`, `FilterAction` and `Filter` by name; None unsets one of the first two.

        Raises: UnknownUser, NotFound, NoSuchMailbox, NotPermitted, Unavailable.
        """
        known = await self.get(user, identifier, by)
        query_of, action_of = FilterQuery(), FilterAction()
        changed = replace(
            known,
            query=replace(known.query, **_or_default(query, query_of)),  # type: ignore[arg-type]
            action=replace(known.action, **_or_default(action, action_of)),  # type: ignore[arg-type]
            **others,  # type: ignore[arg-type]
        )
        targets = self._targets.sealed(changed.action.targets, known.action.targets) if "targets" in action else ()
        if targets:
            changed = replace(changed, action=replace(changed.action, targets=targets))
        if changed.action.mailbox != known.action.mailbox:
            await self._check(changed)
        await self._records.replace(changed, _forwards(changed, known.action.targets))
        await self._note_forwards(changed, known.action.targets, trace)

    async def _check(self, each: Filter) -> None:
        if each.action.mailbox:
            try:
                await self._mailboxes.get(each.user, each.action.mailbox)
            except NotFound:
                raise NoSuchMailbox from None

    async def delete(self, user: str, identifier: str, by: Principal) -> None:
        """Raises: UnknownUser, NotFound, NotPermitted, Unavailable."""
        await self._owner(user, by)
        await self._records.delete(user, identifier, [of("filter.deleted", user, filter=identifier)])


def _forwards(each: Filter, before: Sequence[str]) -> list[Event]:
    return [
        of("forward added", each.user, type="filter", filter=each.id, target=shown(target))
        for target in each.action.targets
        if target not in before
    ]


def _or_default(changes: Mapping[str, object], default: object) -> dict[str, object]:
    return {name: getattr(default, name) if value is None else value for name, value in changes.items()}


class Autoreplies:
    def __init__(self, records: AutoreplyRecords) -> None:
        self._records = records

    async def get(self, user: str, by: Principal) -> Autoreply | None:
        """None when there is none, or no such account. Raises: NotPermitted, Unavailable."""
        require_account(by, user)
        return (await self._records.many([user])).get(user)

    async def update(self, user: str, changes: Mapping[str, object], by: Principal) -> str:
        """Sets attributes of `Autoreply` by name, None takes one away; its id.

        Raises: NotFound: no such account; NotPermitted, Unavailable.
        """
        require_account(by, user)
        known = (await self._records.many([user])).get(user)
        status = changes.get("status")
        told: list[Event] = []
        if isinstance(status, bool) and status != (known is not None and known.status):
            told = [of(f"autoreply.user.{'enabled' if status else 'disabled'}", user)]
        return await self._records.update(user, changes, told)

    async def delete(self, user: str, by: Principal) -> None:
        """Taken away or not there: both is well. Raises: NotPermitted, Unavailable."""
        require_account(by, user)
        try:
            await self._records.delete(user)
        except NotFound:
            return


class DomainAccess:
    """Only server roles manage it."""

    def __init__(self, records: DomainRecords) -> None:
        self._records = records

    async def put(self, tag: str, domain: str, action: str, by: Principal) -> str:
        """`action`: `allow` or `block`, whatever it was; its id. Raises: NotPermitted, Unavailable."""
        require_server(by)
        return await self._records.put(tag.strip(), normalise_domain(domain), action)

    async def list(self, tag: str, action: str, by: Principal) -> Sequence[DomainEntry]:
        """By domain. Raises: NotPermitted, Unavailable."""
        require_server(by)
        return await self._records.list(tag.strip(), action)

    async def delete(self, identifier: str, by: Principal) -> None:
        """Raises: NotFound, NotPermitted, Unavailable."""
        require_server(by)
        if not await self._records.delete(identifier):
            raise NotFound("This domain does not exist")
