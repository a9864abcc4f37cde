"""Mailboxes of any account, by id: made, read, changed and removed by whoever may (`by`).

What a mail client does to mailboxes by their names goes through `Mail`; here the same is done to what an id names, with
the rules that the API has beyond that: INBOX, hidden and special mailboxes are protected.
"""

from collections.abc import Sequence

from duckmail.errors import Cannot
from duckmail.model.account import Principal
from duckmail.model.mailbox import INBOX, SEPARATOR, Mailbox, MailboxChanges, normalise_path
from duckmail.model.sharing import NamedGrant, in_shared
from duckmail.services.access import require_account
from duckmail.services.mail import Mail
from duckmail.services.sharing import Sharing
from storage.store import Store


class Mailboxes:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._sharing = Sharing(store)

    async def list(self, user: str, by: Principal) -> list[Mailbox]:
        """All living ones, hidden too: INBOX, what is below it, then the subscribed before the others, by path.

        Raises: NoSuchAccount, NotPermitted, Unavailable.
        """
        found = await self._mail(user, by).places.own()
        if not found:
            await self._store.users.get(user)  # says so when there is no such account
        return sorted(found, key=_rank)

    async def get(self, user: str, mailbox: str, by: Principal) -> Mailbox:
        """Raises: NoSuchMailbox, NotPermitted, Unavailable."""
        require_account(by, user)
        return await self._store.mailboxes.get(user, mailbox)

    async def resolve(self, user: str, path: str, by: Principal) -> Mailbox:
        """By its path. Raises: NoSuchMailbox, InvalidInput, NotPermitted, Unavailable."""
        require_account(by, user)
        return await self._store.mailboxes.by_path(user, normalise_path(path))

    async def create(
        self,
        user: str,
        path: str,
        by: Principal,
        *,
        retention: int = 0,
        hidden: bool = False,
        encrypt_messages: bool = False,
    ) -> Mailbox:
        """`retention`: milliseconds, 0 keeps mail for ever. `encrypt_messages`: as in `Mailbox`.

        Raises: AlreadyExists, LimitReached, InvalidInput, Cannot, NoSuchAccount, NotPermitted, Unavailable.
        """
        mail = self._mail(user, by)
        if in_shared(normalise_path(path)):
            raise Cannot("This name is for mailboxes that others share")
        return await mail.create(path, retention=retention, hidden=hidden, encrypt_messages=encrypt_messages)

    async def update(self, user: str, mailbox: str, path: str, changes: MailboxChanges, by: Principal) -> None:
        """Moves it to `path` (with all below it), unless that is "" or where it is, and changes attributes.

        Raises: NoSuchMailbox, AlreadyExists, Cannot (INBOX and hidden ones keep their name), NotPermitted, ...
        """
        found = await self.get(user, mailbox, by)
        if path and path != found.path:
            if found.path == INBOX or found.hidden:
                raise Cannot("Mailbox update failed with code CANNOT")
            await self._mail(user, by).rename(found.path, path)
        if changes:
            await self._store.mailboxes.update(user, mailbox, changes)

    async def delete(self, user: str, mailbox: str, by: Principal) -> None:
        """Its messages go to the archive.

        Raises: NoSuchMailbox, Cannot (INBOX, hidden and special ones), NotPermitted, Unavailable.
        """
        found = await self.get(user, mailbox, by)
        if found.path == INBOX or found.hidden or found.special_use:
            raise Cannot("Mailbox deletion failed with code CANNOT")
        await self._mail(user, by).delete(found.path)

    async def grants(self, user: str, mailbox: str, by: Principal) -> Sequence[NamedGrant]:
        """Who may do what with it, its owner first. Raises: NoSuchMailbox, NotPermitted, Unavailable."""
        return await self._sharing.grants(await self.get(user, mailbox, by))

    async def grant(self, user: str, mailbox: str, identifier: str, rights: str, by: Principal) -> None:
        """Gives these rights instead of those that it has; none take it out.

        Raises: NoSuchMailbox, InvalidInput (no such account), Cannot (the owner; a hidden mailbox), LimitReached,
            NotPermitted, Unavailable.
        """
        found = await self.get(user, mailbox, by)
        if found.hidden:
            raise Cannot("Hidden mailboxes are not shared")
        await self._sharing.grant(found, identifier, rights)

    def _mail(self, user: str, by: Principal) -> Mail:
        require_account(by, user)
        return Mail(self._store, Principal(user, ""))


def _rank(mailbox: Mailbox) -> tuple[bool, bool, bool, str, str]:
    path = mailbox.path
    return path != INBOX, not path.startswith(INBOX + SEPARATOR), not mailbox.subscribed, path.casefold(), path
