"""Counting an account's mail anew. Counters cannot drift by themselves; this is for damage from outside."""

from dataclasses import dataclass

from duckmail.model.account import Principal
from duckmail.services.access import require_account
from storage.changes.recount import Recount
from storage.store import Store, key


@dataclass(frozen=True, slots=True)
class Reset:
    """Octets, after and before."""

    used: int
    previous: int


class Quotas:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def reset(self, user: str, by: Principal) -> Reset:
        """Makes the counters of all mailboxes those of their messages. Raises: NotFound, NotPermitted, Unavailable."""
        require_account(by, user)
        await self._store.users.get(user)
        previous = await self._store.mailboxes.used(user)
        for mailbox in await self._store.mailboxes.list(user):
            while await self._store.committer.submit(Recount(key(user, mailbox.id), {})):
                pass
        return Reset(await self._store.mailboxes.used(user), previous)
