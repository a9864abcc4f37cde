"""Annotations of an account's mailboxes, and its own of the server (RFC 5464).

A mailbox has one owner, who reads and writes both its private and its shared entries. Shared entries of the server
would be everybody's: nobody sets them here.
"""

from collections.abc import Mapping, Sequence

from duckmail.errors import AnnotationTooLarge, Cannot, NotPermitted
from duckmail.model.annotation import MAX_VALUE, PRIVATE, SHARED
from duckmail.model.mailbox import Mailbox
from storage.annotations import AnnotationRecords

SPECIAL_USE = PRIVATE + "/specialuse"  # RFC 6154 §4: the uses of a mailbox, here as CREATE set them


class Annotations:
    """Of one account; a mailbox of None is the server."""

    def __init__(self, records: AnnotationRecords, user: str) -> None:
        self._records = records
        self._user = user

    async def get(self, mailbox: Mailbox | None) -> dict[str, bytes]:
        """By name. Raises: NotPermitted, Unavailable."""
        return (await self.of([mailbox]))[0]

    async def of(self, mailboxes: Sequence[Mailbox | None]) -> list[dict[str, bytes]]:
        """One for each, in their order. Raises: NotPermitted, Unavailable."""
        self._check(*mailboxes)
        found = await self._records.get(self._user, [_id(mailbox) for mailbox in mailboxes])
        return [{**found.get(_id(mailbox), {}), **_uses(mailbox)} for mailbox in mailboxes]

    async def change(self, mailbox: Mailbox | None, changes: Mapping[str, bytes | None]) -> None:
        """All or none; None removes.

        Raises: Cannot (names that are no entries, or read only), NotPermitted, AnnotationTooLarge,
            TooManyAnnotations, NoSuchMailbox, Unavailable, CommitUnknown.
        """
        self._check(mailbox)
        for name, value in changes.items():
            if name in (PRIVATE, SHARED, SPECIAL_USE):
                raise Cannot("This entry cannot be set")
            if mailbox is None and name.startswith(SHARED):
                raise NotPermitted
            if value is not None and len(value) > MAX_VALUE:
                raise AnnotationTooLarge
        await self._records.change(self._user, _id(mailbox), changes)

    def _check(self, *mailboxes: Mailbox | None) -> None:
        if any(mailbox is not None and mailbox.user != self._user for mailbox in mailboxes):
            raise NotPermitted


def _id(mailbox: Mailbox | None) -> str:
    return mailbox.id if mailbox else ""


def _uses(mailbox: Mailbox | None) -> dict[str, bytes]:
    return {SPECIAL_USE: mailbox.special_use.encode("ascii")} if mailbox and mailbox.special_use else {}
