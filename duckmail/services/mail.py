"""What one principal may do with mailboxes and messages: the only door of the edges to the store.

Ownership is checked here, once: every operation names the principal's own account, and a mailbox is reached only
through it, by path or by a view that `open` gave.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from duckmail.errors import AlreadyExists, Cannot, NotFound, NotPermitted, RateLimited, TemporaryError, Unavailable
from duckmail.model import search
from duckmail.model.account import Principal, User
from duckmail.model.events import of
from duckmail.model.flags import DELETED
from duckmail.model.mailbox import INBOX, SEPARATOR, Mailbox, Usage, normalise_path, parents
from duckmail.model.message import (
    Appended,
    Content,
    CopyResult,
    FlagChange,
    Needs,
    NewMessage,
    StoredMessage,
    StoreResult,
)
from duckmail.model.ordering import SortBy, Threading, ThreadNode
from duckmail.model.ranges import Ranges
from duckmail.services import ordering, threading
from duckmail.services.annotations import Annotations
from duckmail.services.downloads import Downloads
from duckmail.services.relocation import Relocation
from duckmail.services.search import Search
from duckmail.services.sendinglimit import expires_in
from storage.changes.base import CHUNK
from storage.changes.copy import ATOMIC, Copy
from storage.changes.expunge import Expunge
from storage.changes.rewriting import Rewritten
from storage.changes.store import StoreFlags
from storage.housekeeping import archive_stub
from storage.store import Store, key
from storage.views import View, ViewListener

DAY = 24 * 3600


class Mail:
    """The mail of one account. `default_quota`: octets for accounts without a quota of their own, 0 for no limit.

    `relocation`: that of the process.
    """

    def __init__(
        self, store: Store, principal: Principal, default_quota: int = 0, relocation: Relocation | None = None
    ) -> None:
        self._store = store
        self._relocation = relocation or Relocation(store)
        self._user = principal.user
        self._default_quota = default_quota
        self.annotations = Annotations(store.annotations, principal.user)
        self.downloads = Downloads(store, principal.user, "imap")

    # -- mailboxes -------------------------------------------------------------------------------------------------

    async def mailboxes(self) -> list[Mailbox]:
        """All of the account, hidden ones too, by path."""
        return await self._store.mailboxes.list(self._user)

    async def mailbox(self, path: str) -> Mailbox:
        """With the counters of now. Raises: NotFound, InvalidInput."""
        return await self._store.mailboxes.by_path(self._user, normalise_path(path))

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

        Raises: AlreadyExists, SpecialUseTaken, LimitReached, InvalidInput, Cannot.
        """
        path = normalise_path(path)
        existing = {mailbox.path for mailbox in await self.mailboxes()}
        if path in existing:
            raise AlreadyExists("Mailbox already exists")
        for parent in parents(path):
            if parent not in existing:
                try:
                    await self._store.mailboxes.create(self._user, parent)
                except AlreadyExists:
                    continue  # another session was faster; the parent is there
        return await self._store.mailboxes.create(
            self._user,
            path,
            special_use,
            retention,
            hidden=hidden,
            encrypt_messages=encrypt_messages,
            told=lambda made: [of("mailbox.created", self._user, mailbox=made, path=path)],
        )

    async def rename(self, path: str, new_path: str) -> None:
        """Renames it with everything below. INBOX: moves its messages to a new mailbox and stays (RFC 9051 §6.3.6).

        Raises: NotFound, AlreadyExists, InvalidInput, Cannot.
        """
        path, new_path = normalise_path(path), normalise_path(new_path)
        if new_path in (INBOX, path):
            raise AlreadyExists("Mailbox already exists")
        if path == INBOX:
            await self._rename_inbox(new_path)
            return
        if new_path.startswith(path + SEPARATOR):
            raise Cannot("A mailbox cannot be moved below itself")
        found = await self.mailbox(path)
        existing = {mailbox.path for mailbox in await self.mailboxes()}
        for parent in parents(new_path):
            if parent not in existing:
                await self._store.mailboxes.create(self._user, parent)
        renamed = of("mailbox.renamed", self._user, mailbox=found.id, previous=path, current=new_path)
        await self._store.mailboxes.rename(self._user, path, new_path, [renamed])
        self._look_again()

    async def _rename_inbox(self, new_path: str) -> None:
        inbox = await self.mailbox(INBOX)
        target = await self.create(new_path)
        listener = _Silent()
        view = await self._store.views.open(self._user, inbox.id, listener)
        try:
            await self._move(view, Ranges(((1, max(1, view.mailbox.uidnext - 1)),)), target)
        finally:
            self._store.views.release(view, listener)

    async def delete(self, path: str) -> None:
        """The mailbox is gone at once; its messages go to `archived`. What is below it stays.

        Raises: NotFound, Cannot (INBOX).
        """
        path = normalise_path(path)
        if path == INBOX:
            raise Cannot("INBOX cannot be deleted")
        stub = await self._store.mailboxes.bury(
            self._user, path, lambda gone: [of("mailbox.deleted", self._user, mailbox=gone, path=path)]
        )
        self._store.views.changed(self._user, stub.id)
        with contextlib.suppress(TemporaryError):  # it is deleted; housekeeping brings this to its end
            await archive_stub(self._store.committer, key(self._user, stub.id))

    async def subscribe(self, path: str, subscribed: bool) -> None:
        """Raises: NotFound."""
        await self._store.mailboxes.subscribe(self._user, normalise_path(path), subscribed)

    def _look_again(self) -> None:
        self._store.views.changed_all()

    async def usage(self) -> Usage:
        """Raises: Unavailable."""
        return Usage(await self._store.mailboxes.used(self._user), await self._quota())

    async def deleted_size(self, mailbox: Mailbox) -> int:
        """Octets that expunging it would free. Raises: NotFound, Unavailable."""
        listener = _Silent()
        view = await self.open(mailbox.path, listener)
        try:
            doomed = _deleted(view, None)
        finally:
            self.close_view(view, listener)
        return await self._store.messages.size(self._user, mailbox.id, doomed)

    def follow(self, bell: Callable[[], None]) -> None:
        """`bell` hears when any mailbox of the account may have changed; until `unfollow`."""
        self._store.views.follow(self._user, bell)

    def unfollow(self, bell: Callable[[], None]) -> None:
        self._store.views.unfollow(self._user, bell)

    # -- one mailbox in use ----------------------------------------------------------------------------------------

    async def open(self, path: str, listener: ViewListener) -> View:
        """The shared view, up to date, held for `listener` until `close_view`. Raises: NotFound, Unavailable."""
        mailbox = await self.mailbox(path)
        return await self._store.views.open(self._user, mailbox.id, listener)

    def close_view(self, view: View, listener: ViewListener) -> None:
        self._store.views.release(view, listener)

    async def sync(self, view: View) -> None:
        """Brings the view up to all that was committed before the call. Raises: Unavailable."""
        await self._store.views.sync(view)

    async def vanished(self, view: View, since: int, until: int) -> Ranges | None:
        """UIDs expunged above modseq `since`, up to `until`; None: no longer known one by one. Raises: Unavailable."""
        return await self._store.views.vanished(self._mine(view), since, until)

    async def claim_recent(self, view: View) -> int:
        """Takes the \\Recent messages for one session: those with a UID at or above the result, below uidnext."""
        return await self._store.mailboxes.claim_recent(self._user, self._mine(view).mailbox.id)

    def _mine(self, view: View) -> View:
        """P7: a view of another account is no way in."""
        if view.mailbox.user != self._user:
            raise NotPermitted
        if view.gone:
            raise NotFound("The mailbox was deleted")
        return view

    # -- messages --------------------------------------------------------------------------------------------------

    async def prepare(self, raw: bytes | bytearray) -> Content:
        """Scans the message and stores its large parts; nothing names it yet."""
        return await self._store.contents.examine(raw)

    async def append(self, path: str, messages: Sequence[NewMessage]) -> list[Appended]:
        """All or none. Raises: NotFound, OverQuota, LimitReached, Unavailable, CommitUnknown."""
        mailbox = await self.mailbox(path)
        user = await self._admit(messages)
        stored = [await self._stored(user, mailbox, message) for message in messages]
        return await self._store.append(self._user, mailbox.id, stored, user.quota(self._default_quota))

    async def replace(self, view: View, uid: int, path: str, message: NewMessage) -> Appended:
        """The message comes into the mailbox `path`, `uid` goes from this one: both or neither.

        Raises: NoSuchMessage, NotFound (the target), OverQuota, LimitReached, Unavailable, CommitUnknown.
        """
        source = key(self._user, self._mine(view).mailbox.id)
        mailbox = await self.mailbox(path)
        user = await self._admit([message])
        stored = await self._stored(user, mailbox, message)
        quota = user.quota(self._default_quota)
        done = await self._store.replace(source, uid, key(self._user, mailbox.id), stored, quota)
        if view.position(uid) >= 0:
            await self._catch_up(view)
        return done

    async def _stored(self, user: User, mailbox: Mailbox, message: NewMessage) -> NewMessage:
        encryption = self._relocation.encryption
        return await encryption.stored(user.id, user, message, mailbox=mailbox.encrypt_messages)

    async def _admit(self, messages: Sequence[NewMessage]) -> User:
        """Counts what comes by mail programs; whose it is. Raises: RateLimited: it is too much for today."""
        user: User = await self._store.users.get(self._user)
        octets = sum(each.content.size for each in messages)
        counter, most = f"imap:upload:{self._user}", user.allowed.imap_max_upload
        count = await self._store.counters.incr(counter, DAY, octets)
        if count.value > most:
            await self._store.counters.incr(counter, DAY, -octets)
            raise RateLimited(f"Upload was rate limited. Try again in {expires_in(count.ttl)}", limit=most)
        return user

    async def _quota(self) -> int:
        user: User = await self._store.users.get(self._user)
        return user.quota(self._default_quota)

    async def store_flags(self, view: View, uids: Ranges, change: FlagChange) -> StoreResult:
        """In transactions of at most 1,000 messages, each complete in itself (DESIGN §5 Size).

        Raises: LimitReached, NotFound, Unavailable, CommitUnknown.
        """
        mailbox = key(self._user, self._mine(view).mailbox.id)
        changed: list[int] = []
        failed: list[int] = []
        missing: list[int] = []
        modseq = view.mailbox.modseq
        for chunk in _chunks(uids.pick(view.uids)):
            done: StoreResult = await self._store.committer.submit(StoreFlags(mailbox, chunk, change))
            changed += done.changed
            failed += done.failed
            missing += done.missing
            modseq = done.modseq
        if view.mailbox.modseq < modseq:
            await self._catch_up(view)
        return StoreResult(changed, failed, missing, modseq)

    async def expunge(self, view: View, uids: Ranges | None = None) -> list[int]:
        """Removes the \\Deleted messages, within `uids` if given; the UIDs that went, ascending."""
        mailbox = key(self._user, self._mine(view).mailbox.id)
        await self.sync(view)
        gone: list[int] = []
        for chunk in await self._store.messages.chunks(self._user, view.mailbox.id, _deleted(view, uids)):
            gone += await self._store.committer.submit(Expunge(mailbox, chunk))
        if gone and view.position(gone[-1]) >= 0:
            await self._catch_up(view)
        return gone

    async def _catch_up(self, view: View) -> None:
        """After a change of our own: when another process's change came just before it, the view cannot simply move on
        by ours, and what is answered from it would be from before the change.

        The change stands, whatever becomes of this.
        """
        with contextlib.suppress(Unavailable):
            await self.sync(view)

    async def copy(self, view: View, uids: Ranges, path: str) -> CopyResult:
        """All or none, whatever the number. Raises: NotFound (the target), OverQuota, LimitReached, ..."""
        source = self._mine(view)
        target = await self.mailbox(path)
        wanted = uids.pick(source.uids)
        quota = await self._quota()
        keys = key(self._user, source.mailbox.id), key(self._user, target.id)
        pub_key = await self._relocation.key(target)
        chunks = await self._store.messages.chunks(self._user, source.mailbox.id, wanted, most=ATOMIC)

        async def rewritten(chunk: Sequence[int]) -> Rewritten:
            return await self._relocation.rewritten(self._user, source.mailbox.id, chunk, pub_key)

        submit = self._store.committer.submit
        if len(chunks) <= 1:
            chunk = chunks[0] if chunks else []
            copied = [await submit(Copy(*keys, chunk, quota, rewritten=await rewritten(chunk)))]
            return _joined(target.uidvalidity, copied)
        async with self._store.undo(self._user, target.id) as undo:
            copied = [
                await submit(Copy(*keys, chunk, quota, undo, rewritten=await rewritten(chunk))) for chunk in chunks
            ]
        return _joined(target.uidvalidity, copied)

    async def move(self, view: View, uids: Ranges, path: str) -> CopyResult:
        """In transactions of at most 1,000 messages. Raises: NotFound (the target), LimitReached, ..."""
        return await self._move(self._mine(view), uids, await self.mailbox(path))

    async def _move(self, source: View, uids: Ranges, target: Mailbox) -> CopyResult:
        moved = await self._relocation.move(self._user, source.mailbox.id, target, uids.pick(source.uids))
        result = _joined(target.uidvalidity, moved)
        if result.source and source.position(result.source[-1]) >= 0:
            await self._catch_up(source)
        return result

    def fetch(self, view: View, uids: Sequence[int], needs: Needs) -> AsyncIterator[list[StoredMessage]]:
        """Those of `uids` (ascending) that still exist, ascending, in batches. Raises: Unavailable."""
        return self._store.messages.fetch(self._user, self._mine(view).mailbox.id, uids, needs)

    async def search(
        self, view: View, criteria: search.Node, recent_from: int = 0, among: Sequence[int] | None = None
    ) -> list[int]:
        """Ascending UIDs of the messages that match.

        Args:
            recent_from: what `claim_recent` gave this session.
            among: the UIDs to look at; None: all.

        Raises: LimitReached, Unavailable.
        """
        found = Search(self._store.messages, self._mine(view), recent_from, self._store.text_index)
        return await found.run(criteria, among)

    async def sort(
        self, view: View, uids: Sequence[int], order: Sequence[SortBy], scores: Mapping[int, int] | None = None
    ) -> list[int]:
        """Those of `uids` (ascending) that still exist, in that order. Raises: Unavailable."""
        return await ordering.sort(self._store.messages, self._mine(view), uids, order, scores or {})

    async def thread(self, view: View, uids: Sequence[int], how: Threading) -> Sequence[ThreadNode]:
        """The threads of those of `uids` (ascending) that still exist. Raises: LimitReached, Unavailable."""
        return await threading.thread(self._store.messages, self._mine(view), uids, how)


class _Silent:
    """Holds a view without listening."""

    def view_changed(self, expunged: Sequence[int]) -> None:
        del expunged


def _deleted(view: View, uids: Ranges | None) -> list[int]:
    """What is \\Deleted as the view stands, which the caller has just synced; the transaction decides."""
    picked = view.uids if uids is None else uids.pick(view.uids)
    return [uid for uid in picked if view.flags[view.position(uid)] & DELETED]


def _chunks(uids: Sequence[int]) -> list[Sequence[int]]:
    return [uids[start : start + CHUNK] for start in range(0, len(uids), CHUNK)]


def _joined(uidvalidity: int, results: Sequence[CopyResult]) -> CopyResult:
    return CopyResult(
        uidvalidity,
        [uid for result in results for uid in result.source],
        [uid for result in results for uid in result.target],
    )
