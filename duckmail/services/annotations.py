"""Annotations of an account's mailboxes, and its own of the server (RFC 5464).

Who may do more with a mailbox than see it reads and writes its shared entries, which are the owner's, and its own
private ones. Shared entries of the server would be everybody's: nobody sets them here.
"""

from collections.abc import Mapping, Sequence

from duckmail.errors import AnnotationTooLarge, Cannot, NotPermitted
from duckmail.model.annotation import MAX_VALUE, PRIVATE, SHARED
from duckmail.model.mailbox import Mailbox
from storage.annotations import AnnotationRecords

ENTITLING = "rswip"
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
        owners = {mailbox.user for mailbox in mailboxes if mailbox is not None}
        found = await self._records.get(list({self._user, *owners}), [_id(mailbox) for mailbox in mailboxes])
        return [{**self._seen(found, mailbox), **_uses(mailbox)} for mailbox in mailboxes]

    def _seen(self, found: Mapping[tuple[str, str], Mapping[str, bytes]], mailbox: Mailbox | None) -> dict[str, bytes]:
        """Its own entries; of another one's mailbox the shared ones beside."""
        seen = dict(found.get((self._user, _id(mailbox)), {}))
        if mailbox is not None and mailbox.user != self._user:
            others = found.get((mailbox.user, mailbox.id), {})
            seen |= {name: value for name, value in others.items() if name.startswith(SHARED)}
        return seen

    def may(self, mailbox: Mailbox) -> bool:
        """RFC 5464 §3.3: with the l right and any of these."""
        rights = mailbox.rights(self._user)
        return "l" in rights and any(right in rights for right in ENTITLING)

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
        owner = mailbox.user if mailbox else self._user
        by_whose: dict[str, dict[str, bytes | None]] = {}
        for name, value in changes.items():
            whose = owner if name.startswith(SHARED) else self._user
            by_whose.setdefault(whose, {})[name] = value
        await self._records.change(owner, _id(mailbox), by_whose)

    def _check(self, *mailboxes: Mailbox | None) -> None:
        if any(mailbox is not None and not self.may(mailbox) for mailbox in mailboxes):
            raise NotPermitted


def _id(mailbox: Mailbox | None) -> str:
    return mailbox.id if mailbox else ""


def _uses(mailbox: Mailbox | None) -> dict[str, bytes]:
    return {SPECIAL_USE: mailbox.special_use.encode("ascii")} if mailbox and mailbox.special_use else {}
