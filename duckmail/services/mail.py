"""What one principal may do with mailboxes and messages: the only door of the edges to the store.

Whose they are and what the principal may do with them is checked here, once: a mailbox is reached by its name or by a
view that `open` gave, and both ask `Places` for the rights that the operation needs.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace

from duckmail.errors import AlreadyExists, Cannot, NotFound, NotPermitted, RateLimited, TooManyAnnotations, Unavailable
from duckmail.model import search
from duckmail.model.account import Principal, Quota, User
from duckmail.model.flags import DELETED
from duckmail.model.mailbox import INBOX, Mailbox, Usage, normalise_path
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
from duckmail.model.sharing import ALL_FLAGS, flag_mask, in_shared, permitted_flags
from duckmail.services import ordering, threading
from duckmail.services.annotations import SPECIAL_USE, Annotations
from duckmail.services.downloads import Downloads
from duckmail.services.mailboxtree import MailboxTree
from duckmail.services.relocation import Relocation
from duckmail.services.search import Search
from duckmail.services.sendinglimit import expires_in
from duckmail.services.sharing import Sharing
from storage.changes.base import CHUNK, Key
from storage.changes.copy import ATOMIC, Copy
from storage.changes.expunge import Expunge
from storage.changes.handover import HandOver
from storage.changes.rewriting import Rewritten
from storage.changes.store import StoreFlags
from storage.store import Store, key
from storage.views import View, ViewListener

DAY = 24 * 3600


class Mail(MailboxTree):
    """The mail that one account reaches. `default_quota`: octets for accounts without a quota of their own, 0 for no
    limit. `relocation`: that of the process. Each operation asks `places` for the rights that it needs (RFC 4314 §4).
    """

    def __init__(
        self, store: Store, principal: Principal, default_quota: int = 0, relocation: Relocation | None = None
    ) -> None:
        super().__init__(store, principal.user)
        self._relocation = relocation or Relocation(store)
        self._default_quota = default_quota
        self.annotations = Annotations(store.annotations, principal.user)
        self.downloads = Downloads(store, principal.user, "imap")
        self.sharing = Sharing(store)

    # -- mailboxes -------------------------------------------------------------------------------------------------

    async def mailboxes(self) -> list[Mailbox]:
        """All of the account, hidden ones too, by path, and behind them those of others that it may see."""
        return await self.places.all()

    async def mailbox(self, path: str, needs: str = "r") -> Mailbox:
        """With the counters of now. Raises: NotFound, InvalidInput, NotPermitted."""
        return await self.places.find(path, needs)

    async def rename(self, path: str, new_path: str) -> None:
        """Renames it with everything below. INBOX: moves its messages to a new mailbox and stays (RFC 9051 §6.3.6).

        Raises: NotFound, AlreadyExists, InvalidInput, Cannot, NotPermitted.
        """
        if normalise_path(path) != INBOX:
            await super().rename(path, new_path)
            return
        if normalise_path(new_path) == INBOX:
            raise AlreadyExists("Mailbox already exists")
        if in_shared(new_path):
            raise Cannot("A mailbox cannot be moved to another account")
        inbox = await self.mailbox(INBOX)
        target = await self.create(new_path)
        # RFC 5464 §4.1: what is noted of INBOX stays with it, and is noted of the new mailbox too.
        noted = {name: value for name, value in (await self.annotations.get(inbox)).items() if name != SPECIAL_USE}
        if noted:
            with contextlib.suppress(TooManyAnnotations):  # the account's octets: the messages move without
                await self.annotations.change(target, dict(noted))
        listener = _Silent()
        view = await self._store.views.open(self._user, inbox.id, listener)
        try:
            await self._move(view, Ranges(((1, max(1, view.mailbox.uidnext - 1)),)), target)
        finally:
            self._store.views.release(view, listener)

    async def usage(self, owner: str = "") -> Usage:
        """Of the account, or of the owner of a mailbox that it may read. Raises: Unavailable."""
        user = owner or self._user
        return Usage(*await self._store.mailboxes.held(user), await self._quota(user), self._store.mailboxes.most)

    async def deleted_size(self, mailbox: Mailbox) -> int:
        """Octets that expunging it would free. Raises: NotFound, NotPermitted, Unavailable."""
        listener = _Silent()
        view = await self.open(mailbox.path, listener)
        try:
            doomed = _deleted(view, None)
        finally:
            self.close_view(view, listener)
        return await self._store.messages.size(mailbox.user, mailbox.id, doomed)

    def follow(self, bell: Callable[[], None]) -> None:
        """`bell` hears when a mailbox that `mailboxes` gave may have changed; until `unfollow`."""
        self.places.follow(bell)

    def unfollow(self, bell: Callable[[], None]) -> None:
        self.places.unfollow(bell)

    # -- one mailbox in use ----------------------------------------------------------------------------------------

    async def open(self, path: str, listener: ViewListener) -> View:
        """The shared view, up to date, held for `listener` until `close_view`.

        Raises: NotFound, NotPermitted, Unavailable.
        """
        mailbox = await self.mailbox(path)
        return await self._store.views.open(mailbox.user, mailbox.id, listener)

    def close_view(self, view: View, listener: ViewListener) -> None:
        self._store.views.release(view, listener)

    async def sync(self, view: View) -> None:
        """Brings the view up to all that was committed before the call. Raises: Unavailable."""
        await self._store.views.sync(view)

    async def vanished(self, view: View, since: int, until: int) -> Ranges | None:
        """UIDs expunged above modseq `since`, up to `until`; None: no longer known one by one. Raises: Unavailable."""
        return await self._store.views.vanished(await self.reach(view), since, until)

    async def claim_recent(self, view: View) -> int:
        """Takes the \\Recent messages for one session: those with a UID at or above the result, below uidnext. Those
        of another account are its own to take."""
        mailbox = (await self.reach(view)).mailbox
        if mailbox.user != self._user:
            return mailbox.recentuid
        return await self._store.mailboxes.claim_recent(self._user, mailbox.id)

    async def reach(self, view: View, needs: str = "r") -> View:
        """P7: a view is only a way in for who has the rights, as they are now: one of another account is looked at
        anew. Raises: NotFound, NotPermitted, Unavailable."""
        if view.mailbox.user != self._user:
            await self._store.views.sync(view)
        if not self.places.may(view.mailbox, needs):
            raise NotPermitted
        if view.gone:
            raise NotFound("The mailbox was deleted")
        return view

    # -- messages --------------------------------------------------------------------------------------------------

    async def prepare(self, raw: bytes | bytearray) -> Content:
        """Scans the message and stores its large parts; nothing names it yet."""
        return await self._store.contents.examine(raw)

    async def append(self, path: str, messages: Sequence[NewMessage]) -> list[Appended]:
        """All or none. Raises: NotFound, NotPermitted, OverQuota, LimitReached, Unavailable, CommitUnknown."""
        mailbox = await self.mailbox(path, "i")
        owner = await self._admit(messages, mailbox.user)
        stored = [await self._stored(owner, mailbox, message) for message in messages]
        return await self._store.append(mailbox.user, mailbox.id, stored, owner.quota(self._default_quota))

    async def replace(self, view: View, uid: int, path: str, message: NewMessage) -> Appended:
        """The message comes into the mailbox `path`, `uid` goes from this one: both or neither (RFC 8508).

        Raises: NoSuchMessage, NotFound (the target), NotPermitted, OverQuota, LimitReached, Unavailable, CommitUnknown.
        """
        source = (await self.reach(view, "rte")).mailbox
        target = await self.mailbox(path, "i")
        owner = await self._admit([message], target.user)
        stored = await self._stored(owner, target, message)
        quota = owner.quota(self._default_quota)
        done = await self._store.replace(_key(source), uid, _key(target), stored, quota)
        if view.position(uid) >= 0:
            await self._catch_up(view)
        return done

    async def _stored(self, owner: User, mailbox: Mailbox, message: NewMessage) -> NewMessage:
        """RFC 4314 §4: flags that may not be set are left out, and it is no error."""
        kept = permitted_flags(message.flags, self.places.rights(mailbox))
        allowed = message if len(kept) == len(message.flags) else replace(message, flags=kept)
        encryption = self._relocation.encryption
        return await encryption.stored(owner.id, owner, allowed, mailbox=mailbox.encrypt_messages)

    async def _admit(self, messages: Sequence[NewMessage], owner: str) -> User:
        """Counts what comes by mail programs; the account that it comes to.

        Raises: RateLimited: it is too much for today.
        """
        user: User = await self._store.users.get(self._user)
        octets = sum(each.content.size for each in messages)
        counter, most = f"imap:upload:{self._user}", user.allowed.imap_max_upload
        count = await self._store.counters.incr(counter, DAY, octets)
        if count.value > most:
            await self._store.counters.incr(counter, DAY, -octets)
            raise RateLimited(f"Upload was rate limited. Try again in {expires_in(count.ttl)}", limit=most)
        return user if owner == self._user else await self._store.users.get(owner)

    async def _quota(self, owner: str) -> Quota:
        user: User = await self._store.users.get(owner)
        return user.quota(self._default_quota)

    async def store_flags(self, view: View, uids: Ranges, change: FlagChange) -> StoreResult:
        """In transactions of at most 1,000 messages, each complete in itself (DESIGN §5 Size).

        Raises: LimitReached, NotFound, NotPermitted, Unavailable, CommitUnknown.
        """
        await self.reach(view)
        change = self._within(change, view.mailbox)
        mailbox = _key(view.mailbox)
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

    def _within(self, change: FlagChange, mailbox: Mailbox) -> FlagChange:
        """RFC 4314 §4: STORE changes the flags that may be changed, and fails when that is none of those named.

        Raises: NotPermitted.
        """
        rights = self.places.rights(mailbox)
        within = flag_mask(rights)
        if within == ALL_FLAGS:
            return change
        kept = permitted_flags(change.flags, rights)
        if not kept and (change.flags or not within):
            raise NotPermitted
        return replace(change, flags=kept, within=within)

    async def expunge(self, view: View, uids: Ranges | None = None) -> list[int]:
        """Removes the \\Deleted messages, within `uids` if given; the UIDs that went, ascending."""
        mailbox = _key((await self.reach(view, "re")).mailbox)
        await self.sync(view)
        gone: list[int] = []
        for chunk in await self._store.messages.chunks(view.mailbox.user, view.mailbox.id, _deleted(view, uids)):
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
        """All or none, whatever the number. Raises: NotFound (the target), NotPermitted, OverQuota, ..."""
        source = await self.reach(view)
        target = await self.mailbox(path, "i")
        wanted = uids.pick(source.uids)
        quota, permitted = await self._quota(target.user), self._flags(target)
        keys, pub_key = (_key(source.mailbox), _key(target)), await self._relocation.key(target)
        chunks = await self._store.messages.chunks(source.mailbox.user, source.mailbox.id, wanted, most=ATOMIC)
        submit = self._store.committer.submit
        if len(chunks) <= 1:
            chunk = chunks[0] if chunks else []
            rewritten = await self._rewritten(source.mailbox, chunk, pub_key)
            few = Copy(*keys, chunk, quota, rewritten=rewritten, permitted=permitted)
            return _joined(target.uidvalidity, [await submit(few)])
        copied = []
        async with self._store.undo(target.user, target.id) as undo:
            for chunk in chunks:
                rewritten = await self._rewritten(source.mailbox, chunk, pub_key)
                change = Copy(*keys, chunk, quota, undo, rewritten=rewritten, permitted=permitted)
                copied.append(await submit(change))
        return _joined(target.uidvalidity, copied)

    async def _rewritten(self, source: Mailbox, chunk: Sequence[int], pub_key: str) -> Rewritten:
        return await self._relocation.rewritten(source.user, source.id, chunk, pub_key)

    async def move(self, view: View, uids: Ranges, path: str) -> CopyResult:
        """In transactions of at most 1,000 messages. Raises: NotFound (the target), NotPermitted, LimitReached, ..."""
        return await self._move(await self.reach(view, "rte"), uids, await self.mailbox(path, "i"))

    async def _move(self, source: View, uids: Ranges, target: Mailbox) -> CopyResult:
        mailbox, picked = source.mailbox, uids.pick(source.uids)
        if mailbox.user == target.user and self._flags(target) == ALL_FLAGS:
            moved = await self._relocation.move(mailbox.user, mailbox.id, target, picked)
        else:
            moved = await self._hand_over(mailbox, target, picked)
        result = _joined(target.uidvalidity, moved)
        if result.source and source.position(result.source[-1]) >= 0:
            await self._catch_up(source)
        return result

    async def _hand_over(self, source: Mailbox, target: Mailbox, uids: Sequence[int]) -> list[CopyResult]:
        quota, permitted = await self._quota(target.user), self._flags(target)
        pub_key = await self._relocation.key(target) if source.id != target.id else ""
        moved = []
        for chunk in await self._store.messages.chunks(source.user, source.id, uids):
            rewritten = await self._rewritten(source, chunk, pub_key)
            copy = Copy(_key(source), _key(target), chunk, quota, rewritten=rewritten, permitted=permitted)
            moved.append(await self._store.committer.submit(HandOver(_key(source), copy)))
        return moved

    def _flags(self, mailbox: Mailbox) -> int:
        return flag_mask(self.places.rights(mailbox))

    async def fetch(self, view: View, uids: Sequence[int], needs: Needs) -> AsyncIterator[list[StoredMessage]]:
        """Those of `uids` (ascending) that still exist, ascending, in batches. Raises: NotPermitted, Unavailable."""
        mailbox = (await self.reach(view)).mailbox
        async for batch in self._store.messages.fetch(mailbox.user, mailbox.id, uids, needs):
            yield batch

    async def search(
        self, view: View, criteria: search.Node, recent_from: int = 0, among: Sequence[int] | None = None
    ) -> list[int]:
        """Ascending UIDs of the messages that match.

        Args:
            recent_from: what `claim_recent` gave this session.
            among: the UIDs to look at; None: all.

        Raises: LimitReached, NotPermitted, Unavailable.
        """
        store = self._store
        found = Search(store.messages, await self.reach(view), recent_from, store.text_index, store.columns)
        return await found.run(criteria, among)

    async def sort(
        self, view: View, uids: Sequence[int], order: Sequence[SortBy], scores: Mapping[int, int] | None = None
    ) -> list[int]:
        """Those of `uids` (ascending) that still exist, in that order. Raises: NotPermitted, Unavailable."""
        return await ordering.sort(self._store.messages, await self.reach(view), uids, order, scores or {})

    async def thread(self, view: View, uids: Sequence[int], how: Threading) -> Sequence[ThreadNode]:
        """The threads of those of `uids` (ascending) that still exist. Raises: LimitReached, Unavailable."""
        return await threading.thread(self._store.messages, await self.reach(view), uids, how)


class _Silent:
    """Holds a view without listening."""

    def view_changed(self, expunged: Sequence[int]) -> None:
        del expunged


def _deleted(view: View, uids: Ranges | None) -> list[int]:
    """What is \\Deleted as the view stands, which the caller has just synced; the transaction decides."""
    picked = view.uids if uids is None else uids.pick(view.uids)
    return [uid for uid in picked if view.flags[view.position(uid)] & DELETED]


def _key(mailbox: Mailbox) -> Key:
    return key(mailbox.user, mailbox.id)


def _chunks(uids: Sequence[int]) -> list[Sequence[int]]:
    return [uids[start : start + CHUNK] for start in range(0, len(uids), CHUNK)]


def _joined(uidvalidity: int, results: Sequence[CopyResult]) -> CopyResult:
    return CopyResult(
        uidvalidity,
        [uid for result in results for uid in result.source],
        [uid for result in results for uid in result.target],
    )
