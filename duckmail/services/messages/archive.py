"""What was removed: listed, and brought back."""

from collections.abc import Sequence
from datetime import datetime

from duckmail.errors import NoSuchMessage
from duckmail.model.account import Principal, Quota
from duckmail.model.listing import ListedMessage, MessagePage
from duckmail.model.mailbox import INBOX, Mailbox
from duckmail.services.access import require_account
from duckmail.services.messages.access import owned_mailbox
from duckmail.services.relocation import Relocation
from storage.archived import is_draft
from storage.changes.restore import MOST
from storage.mongo.client import Document
from storage.store import Store


class Archive:
    def __init__(self, store: Store, relocation: Relocation, default_quota: int) -> None:
        """`default_quota`: octets of accounts without their own, 0 for no limit."""
        self._store = store
        self._relocation = relocation
        self._default_quota = default_quota

    async def page(
        self, user: str, limit: int, by: Principal, *, ascending: bool, after: str, before: str, headers: bool
    ) -> MessagePage:
        """By id, behind `after` or ahead of `before`. Raises: NotFound (the account), NotPermitted, Unavailable."""
        require_account(by, user)
        back = not after and bool(before)
        found = await self._store.archived.page(user, limit + 1, after or before, rising=ascending is not back)
        more = len(found) > limit
        del found[limit:]
        total = await self._store.archived.count(user)
        if not total:
            await self._store.users.get(user)  # says so when there is no such account
        listed: list[ListedMessage] = await self._store.listing.listed(
            found[::-1] if back else found, {}, headers=headers
        )
        return MessagePage(listed, total, has_previous=more if back else bool(after), has_next=back or more)

    async def restore(self, user: str, message: str, mailbox: str, by: Principal) -> tuple[str, int]:
        """To `mailbox`, or with "" to where it was, or INBOX when that is gone; gives mailbox and UID.

        Raises: NoSuchMessage, NoSuchMailbox, OverQuota, LimitReached, NotPermitted, Unavailable, CommitUnknown.
        """
        require_account(by, user)
        was = await self._store.archived.mailbox_of(user, message)
        if was is None:
            raise NoSuchMessage
        if mailbox:
            target = await owned_mailbox(self._store, user, mailbox, by)
        else:
            target = (await self._targets(user)).get(was) or (await self._inbox(user))
        restored = await self._to(user, target, [message], await self._quota(user))
        if not restored:
            raise NoSuchMessage
        return target.id, restored[0][1]

    async def restore_range(self, user: str, start: datetime, end: datetime, by: Principal) -> int:
        """What was removed from `start` to `end`, each to where it was, or to INBOX; how many.

        Raises: NotFound (the account), OverQuota, LimitReached, NotPermitted, Unavailable, CommitUnknown.
        """
        require_account(by, user)
        quota = await self._quota(user)
        count = 0
        while rows := await self._store.archived.between(user, start, end, MOST):
            known = await self._targets(user)
            inbox = await self._inbox(user)
            by_target: dict[Mailbox, list[str]] = {}
            for identifier, was in rows:
                by_target.setdefault(known.get(was, inbox), []).append(str(identifier))
            for target, ids in by_target.items():
                count += len(await self._to(user, target, ids, quota))
        return count

    async def _to(self, user: str, target: Mailbox, ids: Sequence[str], quota: Quota) -> list[tuple[str, int]]:
        """They come into a mailbox, encrypted where that one encrypts; (id, UID) of those there were."""
        rewritten: dict[str, Document] = {}
        if pub_key := await self._relocation.key(target):
            found = [each for each in await self._store.archived.documents(user, ids) if not is_draft(each)]
            async for messages in self._store.messages.loaded(found):
                rewritten |= await self._relocation.encrypted(user, messages, pub_key)
        return await self._store.restore(user, target.id, ids, quota, rewritten)

    async def _targets(self, user: str) -> dict[str, Mailbox]:
        return {mailbox.id: mailbox for mailbox in await self._store.mailboxes.list(user)}

    async def _inbox(self, user: str) -> Mailbox:
        return await self._store.mailboxes.by_path(user, INBOX)

    async def _quota(self, user: str) -> Quota:
        account = await self._store.users.get(user)
        return account.quota(self._default_quota)
