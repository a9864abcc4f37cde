"""Searching the mailboxes of an account, and acting on what is found."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from duckmail.errors import InvalidInput
from duckmail.model import search
from duckmail.model.account import Principal
from duckmail.model.listing import MailboxQuery, MessagePage, Place
from duckmail.model.mailbox import Mailbox
from duckmail.model.ranges import Ranges
from duckmail.services.access import require_account
from duckmail.services.messages.access import owned_mailbox
from duckmail.services.messages.changing import Changing, MessageChanges
from duckmail.services.messages.criteria import UNSEARCHED, Filters, Query, criteria
from duckmail.services.search import Search
from storage.store import Store

Spot = tuple[datetime, str | int]  # internal date, and the id, or the UID in one mailbox
_PLAIN: Mapping[search.Node, bool | None] = {
    search.All(): None,
    search.Not(search.Flag("\\Seen")): True,
    search.Flag("\\Seen"): False,
}  # what mailboxes count: whether it is for unseen ones


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    Args:
        q: the grammar of `criteria.Query`; all filters but the mailbox are left aside then.
        mailbox: id, "" for all. `searchable`: not those with junk and trash.
    """

    filters: Filters = field(default_factory=Filters)
    either: Filters = field(default_factory=Filters)
    q: str = ""
    mailbox: str = ""
    searchable: bool = False


@dataclass(frozen=True, slots=True)
class FoundPage:
    """A page by id, newest first, or `by_date`, and then perhaps `ascending`: behind `after` or ahead of `before`."""

    limit: int
    by_date: bool = False
    ascending: bool = False
    after: Spot | None = None
    before: Spot | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """What is done with all that is found. `move_to`: id, "" for none."""

    changes: MessageChanges = field(default_factory=MessageChanges)
    move_to: str = ""
    delete: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """`first`, `last`: where the page begins and ends; None when it is empty."""

    page: MessagePage
    first: Spot | None
    last: Spot | None


class _Silent:
    """Holds a view without listening."""

    def view_changed(self, expunged: Sequence[int]) -> None:
        del expunged


class Finding:
    def __init__(self, store: Store, changing: Changing) -> None:
        self._store = store
        self._changing = changing

    async def find(self, user: str, wanted: Wanted, page: FoundPage, by: Principal, *, headers: bool = False) -> Found:
        """Raises: NoSuchMailbox, NotFound (the account), InvalidInput, LimitReached, NotPermitted, Unavailable."""
        node = criteria(wanted.filters, wanted.either)
        if not wanted.q and node in _PLAIN:
            return await self._read_along(user, wanted, page, by, unseen=_PLAIN[node], headers=headers)
        found = await self._matching(user, wanted, by)
        pick = Pick(page)
        for mailbox, uids in found:
            async for spots in self._store.listing.spots(user, mailbox.id, uids):
                pick.add(spots)
        documents = await self._store.listing.by_ids(user, [identifier for _, identifier in pick.shown])
        tables = {mailbox.id: mailbox.keywords for mailbox, _ in found}
        listed = await self._store.listing.listed(documents, tables, headers=headers)
        return _found(MessagePage(listed, pick.total, pick.previous, pick.following), [each.id for each in listed])

    async def _read_along(
        self, user: str, wanted: Wanted, page: FoundPage, by: Principal, *, unseen: bool | None, headers: bool
    ) -> Found:
        """What no more than a page has to be read for: the mailboxes know how many messages there are."""
        require_account(by, user)
        mailboxes = await self._scope(user, wanted, by)
        listing = self._store.listing
        spot = page.after or page.before
        by_uid = bool(wanted.mailbox) and page.by_date
        if by_uid:
            place = None if spot is None else Place(spot[0], _uid(spot))
            query = MailboxQuery(
                page.limit, page.ascending, place if page.after else None, None if page.after else place, unseen
            )
            documents, more = await listing.page(user, wanted.mailbox, query)
        else:
            # Only the direction is taken from these places.
            after, before = (None if each is None else Place(each[0], 0) for each in (page.after, page.before))
            query = MailboxQuery(page.limit, page.ascending, after, before, unseen)
            within = [each.id for each in mailboxes]
            if page.by_date:
                at = None if spot is None else (spot[0], _id(spot))
                documents, more = await listing.account_page(user, within, query, at)
            else:
                documents, more = await listing.id_page(user, within, query, "" if spot is None else _id(spot))
        tables = {each.id: each.keywords for each in mailboxes}
        listed = await listing.listed(documents, tables, headers=headers)
        back = page.after is None and page.before is not None
        total = sum(_counted(each, unseen) for each in mailboxes)
        shown = MessagePage(listed, total, more if back else page.after is not None, back or more)
        return _found(shown, [each.uid if by_uid else each.id for each in listed])

    async def check(self, user: str, wanted: Wanted, action: Action, by: Principal) -> None:
        """Whether `act` could be begun. Raises: as `find`."""
        require_account(by, user)
        if action.move_to:
            await owned_mailbox(self._store, user, action.move_to, by)
        if wanted.q:
            Query(wanted.q)
        criteria(wanted.filters, wanted.either)
        await self._scope(user, wanted, by)

    async def act(
        self, user: str, wanted: Wanted, action: Action, by: Principal, bounds: Mapping[str, int] | None = None
    ) -> int:
        """How many messages it was done to. `bounds`: the highest UID of each mailbox that may be touched.

        Raises: as `find`; OverQuota never, since moves stay in the account.
        """
        target = await owned_mailbox(self._store, user, action.move_to, by) if action.move_to else None
        count = 0
        for mailbox, found in await self._matching(user, wanted, by):
            uids = found if bounds is None else found[: bisect_right(found, bounds.get(mailbox.id, 0))]
            count += len(uids)
            if action.delete:
                await self._changing.remove(user, mailbox.id, uids)
                continue
            if action.changes:
                await self._changing.apply(user, mailbox.id, uids, action.changes)
            if target is not None and target.id != mailbox.id:
                await self._changing.move_all(user, mailbox.id, uids, target)
        return count

    async def _matching(self, user: str, wanted: Wanted, by: Principal) -> list[tuple[Mailbox, list[int]]]:
        """The UIDs that match, ascending, of each mailbox that has any."""
        require_account(by, user)
        query = Query(wanted.q) if wanted.q else None
        node = criteria(wanted.filters, wanted.either)
        threads = None
        if query is None and wanted.filters.thread:
            threads = await self._store.listing.thread_uids(user, wanted.filters.thread)
        found: list[tuple[Mailbox, list[int]]] = []
        for mailbox in await self._scope(user, wanted, by):
            mine = node if query is None else query.within(mailbox)
            if threads is not None:
                if mailbox.id not in threads:
                    continue
                mine = search.And((search.Uids(Ranges.of(*threads[mailbox.id])), mine))
            if uids := await self._search(user, mailbox, mine):
                found.append((mailbox, uids))
        return found

    async def _scope(self, user: str, wanted: Wanted, by: Principal) -> list[Mailbox]:
        if wanted.mailbox:
            return [await owned_mailbox(self._store, user, wanted.mailbox, by)]
        mailboxes = await self._store.mailboxes.list(user)
        if not mailboxes:
            await self._store.users.get(user)  # says so when there is no such account
        # Words are looked for where people look for them.
        narrow = wanted.searchable or (not wanted.q and bool(wanted.filters.query or wanted.either.query))
        return [each for each in mailboxes if not (narrow and each.special_use in UNSEARCHED) and each.messages]

    async def _search(self, user: str, mailbox: Mailbox, node: search.Node) -> list[int]:
        listener = _Silent()
        view = await self._store.views.open(user, mailbox.id, listener)
        try:
            return await Search(self._store.messages, view, 0, self._store.text_index, self._store.columns).run(node)
        finally:
            self._store.views.release(view, listener)


class Pick:
    """A page of what matches, given in any order: never more than the page and one batch are kept."""

    def __init__(self, page: FoundPage) -> None:
        self._page = page
        self._back = page.after is None and page.before is not None
        # Away from the cursor: back to front, when what is wanted stands before it.
        self._rising = page.ascending is not self._back
        spot = page.after or page.before
        self._bound = None if spot is None else self._rank(spot)
        self._passed = False
        self._kept: list[tuple[datetime, str]] = []
        self.total = 0

    def _rank(self, spot: Spot) -> tuple[object, ...]:
        """Raises: InvalidInput: of another search's cursor."""
        return (spot[0], _id(spot)) if self._page.by_date else (_id(spot),)

    def add(self, spots: Sequence[tuple[datetime, str]]) -> None:
        self.total += len(spots)
        ahead = [spot for spot in spots if self._is_ahead(spot)]
        self._passed = self._passed or len(ahead) < len(spots)
        kept = sorted([*self._kept, *ahead], key=self._rank, reverse=not self._rising)
        self._kept = kept[: self._page.limit + 1]

    def _is_ahead(self, spot: Spot) -> bool:
        if self._bound is None:
            return True
        rank = self._rank(spot)
        return rank > self._bound if self._rising else rank < self._bound

    @property
    def shown(self) -> list[tuple[datetime, str]]:
        """In the page's order."""
        page = self._kept[: self._page.limit]
        return page[::-1] if self._back else page

    @property
    def previous(self) -> bool:
        return self._more if self._back else self._passed

    @property
    def following(self) -> bool:
        return self._passed if self._back else self._more

    @property
    def _more(self) -> bool:
        return len(self._kept) > self._page.limit


def _found(page: MessagePage, keys: Sequence[str | int]) -> Found:
    spots = [(message.idate, key) for message, key in zip(page.messages, keys, strict=True)]
    return Found(page, spots[0] if spots else None, spots[-1] if spots else None)


def _counted(mailbox: Mailbox, unseen: bool | None) -> int:
    if unseen is None:
        return mailbox.messages
    return mailbox.unseen if unseen else mailbox.messages - mailbox.unseen


def _uid(spot: Spot) -> int:
    if isinstance(spot[1], int):
        return spot[1]
    raise InvalidInput("The cursor is of another search")


def _id(spot: Spot) -> str:
    if isinstance(spot[1], str):
        return spot[1]
    raise InvalidInput("The cursor is of another search")
