"""The names of mailboxes: made, changed and removed, the account's own and those of others as far as they let it."""

import contextlib
from collections.abc import Mapping

from duckmail.errors import AlreadyExists, Cannot, NoSuchMailbox, NotFound, NotPermitted, TemporaryError
from duckmail.model.events import of
from duckmail.model.mailbox import INBOX, SEPARATOR, Mailbox, normalise_path, parents
from duckmail.model.sharing import in_shared, split_shared
from duckmail.services.places import Places, nearest
from storage.housekeeping import archive_stub
from storage.store import Store, key


class MailboxTree:
    def __init__(self, store: Store, user: str) -> None:
        self._store = store
        self._user = user
        self.places = Places(store, user)

    async def create(
        self,
        path: str,
        special_use: str | None = None,
        *,
        retention: int = 0,
        hidden: bool = False,
        encrypt_messages: bool = False,
    ) -> Mailbox:
        """Makes it, and the parents it lacks (RFC 9051 §6.3.4: SHOULD create superior names).

        Raises: AlreadyExists, SpecialUseTaken, LimitReached, InvalidInput, Cannot, NotPermitted.
        """
        owner, path = await self._target(path)
        if owner != self._user and special_use:
            raise Cannot("Only one's own mailboxes have a use")
        existing = {mailbox.path: mailbox for mailbox in await self._store.mailboxes.list(owner)}
        self._require_parent(owner, existing, path)
        if path in existing:
            raise AlreadyExists("Mailbox already exists")
        await self._make_parents(owner, existing, path)
        return await self._store.mailboxes.create(
            owner,
            path,
            special_use,
            retention,
            hidden=hidden,
            encrypt_messages=encrypt_messages,
            told=lambda made: [of("mailbox.created", owner, mailbox=made, path=path)],
        )

    async def _target(self, path: str) -> tuple[str, str]:
        """Account and own path of a name that is to be. Raises: InvalidInput, Cannot, NotPermitted: which says no more
        of an account that there is than of one that there is not."""
        path = normalise_path(path)
        if not in_shared(path):
            return self._user, path
        name, rest = split_shared(path)
        try:
            owner = await self.places.owner(name)
        except NotFound:
            raise NotPermitted from None
        if not rest:
            raise NotPermitted
        return owner, normalise_path(rest)

    def _require_parent(self, owner: str, existing: Mapping[str, Mailbox], path: str) -> None:
        """RFC 4314 §4: CREATE and RENAME need the k right on the nearest parent. Raises: NotPermitted."""
        if owner == self._user:
            return
        parent = existing.get(nearest(list(existing), path))
        if parent is None or parent.hidden or not self.places.may(parent, "k"):
            raise NotPermitted

    async def _make_parents(self, owner: str, existing: Mapping[str, Mailbox], path: str) -> None:
        for parent in parents(path):
            if parent not in existing:
                with contextlib.suppress(AlreadyExists):  # another session was faster; the parent is there
                    await self._store.mailboxes.create(owner, parent)

    async def rename(self, path: str, new_path: str) -> None:
        """Renames it with everything below; not INBOX.

        Raises: NotFound, AlreadyExists, InvalidInput, Cannot, NotPermitted.
        """
        found = await self.places.find(path, "x")
        owner, path, (new_owner, new_path) = found.user, self.places.path(found), await self._target(new_path)
        if owner != new_owner:
            raise Cannot("A mailbox cannot be moved to another account")
        if path == INBOX:
            raise Cannot("INBOX cannot be renamed")
        existing = {mailbox.path: mailbox for mailbox in await self._store.mailboxes.list(owner)}
        for below in (each for each in existing if each.startswith(path + SEPARATOR)):
            if not self.places.may(existing[below], "x"):
                raise NotPermitted
        self._require_parent(owner, existing, new_path)
        if new_path in (INBOX, path):
            raise AlreadyExists("Mailbox already exists")
        if new_path.startswith(path + SEPARATOR):
            raise Cannot("A mailbox cannot be moved below itself")
        await self._make_parents(owner, existing, new_path)
        renamed = of("mailbox.renamed", owner, mailbox=found.id, previous=path, current=new_path)
        await self._store.mailboxes.rename(owner, path, new_path, [renamed])
        self._store.views.changed_all()

    async def delete(self, path: str) -> None:
        """The mailbox is gone at once; its messages go to `archived`. What is below it stays.

        Raises: NotFound, Cannot (INBOX), NotPermitted.
        """
        found = await self.places.find(path, "x")
        owner, path = found.user, self.places.path(found)
        if path == INBOX:
            raise Cannot("INBOX cannot be deleted")
        stub = await self._store.mailboxes.bury(
            owner, path, lambda gone: [of("mailbox.deleted", owner, mailbox=gone, path=path)]
        )
        self._store.views.changed(owner, stub.id)
        with contextlib.suppress(TemporaryError):  # it is deleted; housekeeping brings this to its end
            await archive_stub(self._store.committer, key(owner, stub.id))

    async def subscribe(self, path: str, subscribed: bool) -> None:
        """RFC 4314 §4: SUBSCRIBE needs the l right, UNSUBSCRIBE none. Raises: NotFound, when it is to be subscribed to.

        A name without a mailbox, or with one that may not be seen, is not on the list: to take it off changes nothing
        and is no error. Thunderbird does so with the old name after RENAME, where the subscription went along.
        """
        try:
            found = await self.places.find(path, "l" if subscribed else "")
            if found.user == self._user:
                await self._store.mailboxes.subscribe(self._user, found.path, subscribed)
            else:
                await self._store.grants.subscribe(self._user, found.id, subscribed)
        except NoSuchMailbox:
            if subscribed:
                raise
