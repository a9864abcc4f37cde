"""Sharing a mailbox: its ACL (RFC 4314), by user names.

What is asked for a mailbox here was found before, with the right that it takes: `a`, by its name through `Places` or by
its id through its owner's account.
"""

from collections.abc import Sequence

from duckmail.errors import Cannot, InvalidInput, NotFound
from duckmail.model.mailbox import Mailbox
from duckmail.model.sharing import ALL_RIGHTS, ANYONE, Grant, NamedGrant, ordered
from storage.grants import Change
from storage.store import Store

NEGATIVE = "-"  # RFC 4314 §2: in front of an identifier


class Sharing:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def grants(self, mailbox: Mailbox) -> list[NamedGrant]:
        """The owner first, with everything; without accounts that are gone. Raises: Unavailable."""
        ids = [grant.who for grant in mailbox.acl if grant.who != ANYONE]
        names = {ANYONE: ANYONE, **await self._store.grants.usernames([mailbox.user, *ids])}
        found = [NamedGrant(names.get(mailbox.user, ""), ALL_RIGHTS)]
        for grant in mailbox.acl:
            if grant.who in names:
                sign = NEGATIVE if grant.negative else ""
                found.append(NamedGrant(sign + names[grant.who], grant.rights))
        return found

    async def grant(self, mailbox: Mailbox, identifier: str, rights: str, how: str = "") -> None:
        """Gives an identifier these rights: `+` beside those it has, `-` takes them from those, "" instead of those.

        Raises: InvalidInput (no such account), Cannot (the owner), NoSuchMailbox, LimitReached, Unavailable,
            CommitUnknown.
        """
        who, negative = await self._who(mailbox, identifier)

        def change(grants: Sequence[Grant]) -> Sequence[Grant]:
            held = next((each.rights for each in grants if (each.who, each.negative) == (who, negative)), "")
            added = {"+": set(held) | set(rights), "-": set(held) - set(rights)}.get(how, set(rights))
            return _with(grants, Grant(who, ordered(added), negative))

        await self._change(mailbox, who, change)

    async def revoke(self, mailbox: Mailbox, identifier: str) -> None:
        """The identifier has no entry any more. Raises: as `grant`."""
        who, negative = await self._who(mailbox, identifier)
        await self._change(mailbox, who, lambda grants: _with(grants, Grant(who, "", negative)))

    async def is_owner(self, mailbox: Mailbox, identifier: str) -> bool:
        """Raises: InvalidInput (no such account), Unavailable."""
        return await self._account(identifier.removeprefix(NEGATIVE)) == mailbox.user

    async def _who(self, mailbox: Mailbox, identifier: str) -> tuple[str, bool]:
        """Id, or anyone, and whether it is negative."""
        negative = identifier.startswith(NEGATIVE)
        who = await self._account(identifier.removeprefix(NEGATIVE))
        if who == mailbox.user:
            raise Cannot("The owner has all rights")  # RFC 4314 §2: what is required is not ours to change
        return who, negative

    async def _account(self, name: str) -> str:
        if name.lower() == ANYONE:
            return ANYONE
        try:
            return (await self._store.users.by_username(name)).id
        except NotFound:
            raise InvalidInput("No such account") from None

    async def _change(self, mailbox: Mailbox, who: str, change: Change) -> None:
        document = await self._store.grants.change(mailbox.user, mailbox.id, change)
        user = "" if who == ANYONE else who
        if user:
            await self._store.grants.noticed(user)
        self._store.shared(document, user)


def _with(grants: Sequence[Grant], new: Grant) -> list[Grant]:
    """In its place, or behind the others; without rights there is no entry."""
    changed = [new if (each.who, each.negative) == (new.who, new.negative) else each for each in grants]
    if new not in changed:
        changed.append(new)
    return [each for each in changed if each.rights]
