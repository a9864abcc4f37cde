"""Changing messages: flags, expiry and data of the client, moves, removal; in transactions of at most 1,000."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from duckmail.errors import NoSuchMessage, NotFound
from duckmail.model.account import Principal
from duckmail.model.mailbox import Mailbox
from duckmail.model.message import FlagChange, FlagOperation
from duckmail.model.ranges import Ranges
from duckmail.services.access import require_account
from duckmail.services.messages.access import owned_mailbox
from duckmail.services.relocation import Relocation
from storage.changes.base import CHUNK
from storage.changes.expunge import Expunge
from storage.changes.store import StoreFlags
from storage.store import Store, key

LARGEST_UID = 2**32 - 1


@dataclass(frozen=True, slots=True)
class MessageChanges:
    """What of messages is set anew; what is empty or None stays. `no_expiry`: they expire no more.

    `meta_data`: a JSON object.
    """

    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    expires: datetime | None = None
    no_expiry: bool = False
    meta_data: str | None = None

    def __bool__(self) -> bool:
        return bool(self.add or self.remove or self.fields)

    @property
    def fields(self) -> dict[str, object]:
        """Of the message document; None takes one away."""
        found: dict[str, object] = {}
        if self.expires is not None or self.no_expiry:
            found["expires"] = self.expires
        if self.meta_data is not None:
            found["meta"] = self.meta_data
        return found


@dataclass(frozen=True, slots=True)
class Moved:
    """`target`: the mailbox. `pairs`: old and new UID of each message."""

    target: str
    pairs: list[tuple[int, int]]


class Changing:
    def __init__(self, store: Store, relocation: Relocation) -> None:
        self._store = store
        self._relocation = relocation

    @property
    def _batch(self) -> int:
        """Messages in one transaction."""
        return min(self._store.settings.given("const:max:bulk_batch_size", CHUNK), CHUNK)

    async def update(self, user: str, mailbox: str, uids: Ranges, changes: MessageChanges, by: Principal) -> int:
        """How many messages there are among `uids`; all of them are as asked now.

        Raises: NoSuchMailbox, NoSuchMessage (none of them is there), LimitReached, NotPermitted, Unavailable, ...
        """
        await owned_mailbox(self._store, user, mailbox, by)
        found = await self._existing(user, mailbox, uids)
        await self._apply(user, mailbox, found, changes)
        return len(found)

    async def mark_seen(self, user: str, mailbox: str, uid: int, by: Principal) -> None:
        """Raises: as `update`."""
        await self.update(user, mailbox, Ranges.of(uid), MessageChanges(add=("\\Seen",)), by)

    async def move(
        self, user: str, mailbox: str, uids: Ranges, by: Principal, *, target: str, changes: MessageChanges
    ) -> Moved:
        """Changes the messages, then moves them to the mailbox `target`, which may be where they are.

        Raises: as `update`.
        """
        await owned_mailbox(self._store, user, mailbox, by)
        goal = await owned_mailbox(self._store, user, target, by)
        found = await self._existing(user, mailbox, uids)
        await self._apply(user, mailbox, found, changes)
        done = await self._relocation.move(user, mailbox, goal, found, self._batch)
        pairs = [pair for each in done for pair in zip(each.source, each.target, strict=True)]
        if not pairs:
            raise NoSuchMessage("Could not move message, check if message exists")
        return Moved(target, pairs)

    async def delete(self, user: str, mailbox: str, uid: int, by: Principal) -> None:
        """Archives it, unless it is a draft. Raises: as `update`."""
        await owned_mailbox(self._store, user, mailbox, by)
        if not await self.remove(user, mailbox, [uid]):
            raise NoSuchMessage("Message was not found")

    async def delete_all(
        self, user: str, mailbox: str, by: Principal, *, archive: bool, last: int = LARGEST_UID
    ) -> int:
        """How many there were, up to the UID `last`; a mailbox that is not there has none.

        Raises: NotPermitted, Unavailable, CommitUnknown.
        """
        require_account(by, user)
        try:
            found = await self._existing(user, mailbox, Ranges(((1, last),)))
            return await self.remove(user, mailbox, found, archive=archive)
        except NotFound:
            return 0

    async def remove(self, user: str, mailbox: str, uids: Sequence[int], *, archive: bool = True) -> int:
        """Those of `uids` (ascending) that exist go, to the archive if they are no drafts; how many.

        For callers that know whose mailbox it is. Raises: NoSuchMailbox, Unavailable, CommitUnknown.
        """
        drafts = set(await self._store.listing.drafts(user, mailbox, uids)) if archive else set()
        box = key(user, mailbox)
        gone = 0
        for kept, some in ((archive, [uid for uid in uids if uid not in drafts]), (False, sorted(drafts))):
            for chunk in await self._store.messages.chunks(user, mailbox, some, self._batch):
                gone += len(await self._store.committer.submit(Expunge(box, chunk, any_flags=True, archive=kept)))
        return gone

    async def apply(self, user: str, mailbox: str, uids: Sequence[int], changes: MessageChanges) -> None:
        """To `uids` (ascending). For callers that know whose mailbox it is. Raises: LimitReached, Unavailable, ..."""
        await self._apply(user, mailbox, uids, changes)

    async def move_all(self, user: str, mailbox: str, uids: Sequence[int], target: Mailbox) -> int:
        """For callers that know whose mailboxes they are. Raises: LimitReached, Unavailable, CommitUnknown."""
        done = await self._relocation.move(user, mailbox, target, uids, self._batch)
        return sum(len(each.source) for each in done)

    async def _apply(self, user: str, mailbox: str, uids: Sequence[int], changes: MessageChanges) -> None:
        box = key(user, mailbox)
        for chunk in _chunks(uids, self._batch):
            for operation, flags in ((FlagOperation.ADD, changes.add), (FlagOperation.REMOVE, changes.remove)):
                if flags:
                    await self._store.committer.submit(StoreFlags(box, chunk, FlagChange(operation, flags)))
            if changes.fields:
                await self._store.listing.set_fields(user, mailbox, chunk, changes.fields)

    async def _existing(self, user: str, mailbox: str, uids: Ranges) -> list[int]:
        found = await self._store.listing.uids(user, mailbox, uids)
        if not found:
            raise NoSuchMessage("No message matched query")
        return found


def _chunks(uids: Sequence[int], most: int) -> list[Sequence[int]]:
    return [uids[start : start + most] for start in range(0, len(uids), most)]
