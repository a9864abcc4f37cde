"""Which mailboxes an account reaches, by which names, and what it may do with each: the one check of P7 for mailboxes.

Its own, with all rights, and below `Shared/` those that their owners share with it (RFC 4314). A mailbox on which it
has no lookup right does not exist for it: not in a listing, and not in an error (RFC 4314 §6).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from duckmail.errors import NoSuchAccount, NoSuchMailbox, NotFound, NotPermitted
from duckmail.model.mailbox import Mailbox, normalise_path
from duckmail.model.sharing import in_shared, shared_path, split_shared
from storage.store import Store

Bell = Callable[[], None]


class Places:
    """Of the account `user`. Mailboxes of others are given with the name and the subscription that they have for it."""

    def __init__(self, store: Store, user: str) -> None:
        self._store = store
        self._user = user
        self._names: dict[str, str] = {}  # user names of the owners met, by id
        self._bells: dict[Bell, set[str]] = {}  # with the accounts that each follows

    # Rights

    def rights(self, mailbox: Mailbox) -> str:
        return mailbox.rights(self._user)

    def may(self, mailbox: Mailbox, needs: str) -> bool:
        """It has all rights of `needs`."""
        held = self.rights(mailbox)
        return all(right in held for right in needs)

    def require(self, mailbox: Mailbox, needs: str) -> Mailbox:
        """Raises: NotPermitted; NoSuchMailbox: it may not even be seen."""
        if self.may(mailbox, needs):
            return mailbox
        raise NotPermitted if self.may(mailbox, "l") else NoSuchMailbox

    # Names

    async def own(self) -> list[Mailbox]:
        """All of the account, hidden ones too, by path."""
        return await self._store.mailboxes.list(self._user)

    async def all(self) -> list[Mailbox]:
        """Those, and what others let it see."""
        own = await self.own()
        found = await self._store.mailboxes.shared_with(self._user)
        seen = [mailbox for mailbox in found if self.may(mailbox, "l") and not mailbox.hidden]
        self._follow_owners({mailbox.user for mailbox in seen})
        if not seen:
            return own
        self._names |= await self._store.grants.usernames(list({mailbox.user for mailbox in seen}))
        subscribed = await self._store.grants.subscribed(self._user)
        taken = {mailbox.path for mailbox in own}
        shared = [
            self._shown(mailbox, subscribed=mailbox.id in subscribed) for mailbox in seen if mailbox.user in self._names
        ]
        return own + sorted((each for each in shared if each.path not in taken), key=lambda each: each.path)

    async def find(self, path: str, needs: str = "r") -> Mailbox:
        """By name; its own come first. Raises: NoSuchMailbox, NotPermitted, InvalidInput."""
        path = normalise_path(path)
        try:
            return await self._store.mailboxes.by_path(self._user, path)
        except NoSuchMailbox:
            if not in_shared(path):
                raise
        return self.require(await self._of_others(path), needs)

    async def _of_others(self, path: str) -> Mailbox:
        """Whatever rights there are. Raises: NoSuchMailbox."""
        name, rest = split_shared(path)
        try:
            owner = await self.owner(name)
        except NotFound:
            raise NoSuchMailbox from None
        if not rest:
            raise NoSuchMailbox
        mailbox = await self._store.mailboxes.by_path(owner, normalise_path(rest))
        if mailbox.hidden:
            raise NoSuchMailbox
        return self._shown(mailbox)

    async def owner(self, name: str) -> str:
        """The id of another account by its very name, not by another spelling. Raises: NotFound."""
        user = await self._store.users.by_username(name) if name else None
        if user is None or user.username != name or user.id == self._user:
            raise NoSuchAccount
        self._names[user.id] = user.username
        return user.id

    def _shown(self, mailbox: Mailbox, *, subscribed: bool = False) -> Mailbox:
        """Its special use is its owner's alone: nobody's Trash is another one's."""
        return replace(mailbox, path=self.name(mailbox), subscribed=subscribed, special_use=None)

    def name(self, mailbox: Mailbox) -> str:
        """Of a mailbox as its owner knows it, the name that it has for the account."""
        if mailbox.user == self._user:
            return mailbox.path
        return shared_path(self._names[mailbox.user], mailbox.path)

    def path(self, mailbox: Mailbox) -> str:
        """Of a mailbox as the account knows it, the owner's own path."""
        return mailbox.path if mailbox.user == self._user else split_shared(mailbox.path)[1]

    # News

    def follow(self, bell: Bell) -> None:
        """`bell` hears when a mailbox that `all` gave, or the tree, may have changed; until `unfollow`."""
        self._bells[bell] = {self._user}
        self._store.views.follow(self._user, bell)

    def unfollow(self, bell: Bell) -> None:
        for user in self._bells.pop(bell):
            self._store.views.unfollow(user, bell)

    def _follow_owners(self, owners: set[str]) -> None:
        for bell, followed in self._bells.items():
            for user in owners - followed:
                self._store.views.follow(user, bell)
            for user in followed - owners - {self._user}:
                self._store.views.unfollow(user, bell)
            self._bells[bell] = {self._user, *owners}


def nearest(paths: Sequence[str], path: str) -> str:
    """The nearest of `paths` that is above `path`; "" when there is none."""
    above = [each for each in paths if path.startswith(each + "/")]
    return max(above, key=len, default="")
