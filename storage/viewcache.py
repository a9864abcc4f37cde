"""The views of a process: loaded once, shared, kept up to date, least recently used out.

One loader and one sync at a time per mailbox. Both read in a snapshot session on the primary: the mailbox document,
then the messages, then the tombstones, all of one moment (DESIGN §5 Read).
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from bson.objectid import ObjectId
from pymongo.asynchronous.client_session import AsyncClientSession

from duckmail.errors import DuckmailError, NotFound
from duckmail.model.ranges import Ranges
from duckmail.runtime import metrics
from duckmail.runtime.tasks import Tasks
from storage.mailboxes import Mailboxes, to_mailbox
from storage.mongo.client import Client, Database, Document, object_id, operation
from storage.rows import raw_rows, read_rows
from storage.views import Delta, Rows, View, ViewListener

log = logging.getLogger("duckmail.storage")

POLL_SECONDS = 2.0
FOLLOWED_AT_ONCE = 1000  # users in one query
UNUSED_OCTETS = 64 * 1024 * 1024  # of views that no session holds
VIEW_OCTETS = 1024  # of one beside its arrays

Key = tuple[str, str]  # user, mailbox
_NO_ROWS = Rows()


class _Entry:
    """One view and what is under way for it."""

    def __init__(self) -> None:
        self.view: View | None = None
        self.lock = asyncio.Lock()
        self.started = 0  # syncs begun, to share one between callers
        self.finished = 0
        self.failure: DuckmailError | None = None  # of the one that finished last
        self.opening = 0  # who waits for the view: the entry stays for them
        self.octets = 0  # as counted while it is unused


class ViewCache:
    def __init__(self, client: Client, database: Database, mailboxes: Mailboxes, tasks: Tasks) -> None:
        self._client = client
        self._mailboxes = mailboxes
        self._database = database
        self._tasks = tasks
        self._entries: dict[Key, _Entry] = {}  # held by somebody, or being opened
        self._unused: OrderedDict[Key, _Entry] = OrderedDict()  # the longest unused first
        self._unused_octets = 0
        self._followers: dict[str, set[Callable[[], None]]] = {}  # by user: who hears that something changed
        self._stamps: dict[str, tuple[int, int]] = {}  # of users that are followed, as last seen
        self.watch: Callable[[str], None] = lambda _user: None  # set by the notifier: somebody holds this user's view
        self.unwatch: Callable[[str], None] = lambda _user: None

    @property
    def held(self) -> int:
        """Views that sessions hold or wait for."""
        return len(self._entries)

    @property
    def unused(self) -> int:
        """Views that nobody holds."""
        return len(self._unused)

    @property
    def unused_octets(self) -> int:
        """Memory of the views that nobody holds."""
        return self._unused_octets

    async def open(self, user: str, mailbox: str, listener: ViewListener) -> View:
        """The view, up to date, held until `release`. Raises: NotFound, Unavailable."""
        key = (user, mailbox)
        # The entry stays for all who wait for it: one opener may fail or vanish, and the next must not be left with a
        # view that nobody brings up to date.
        entry = self._entries.setdefault(key, self._drop_unused(key) or _Entry())
        entry.opening += 1
        metrics.VIEW_OPENS["miss" if entry.view is None else "hit"].inc()
        self.watch(user)
        try:
            view = await self._up_to_date(key, entry)
            view.attach(listener)
        except BaseException:
            self.unwatch(user)
            raise
        finally:
            entry.opening -= 1
            self._settle(key)
        return view

    async def _up_to_date(self, key: Key, entry: _Entry) -> View:
        await self._refresh(key, entry)
        if entry.view is None or entry.view.gone:
            raise NotFound("No such mailbox")
        return entry.view

    def release(self, view: View, listener: ViewListener) -> None:
        view.detach(listener)
        self.unwatch(view.mailbox.user)
        self._settle((view.mailbox.user, view.mailbox.id))

    def _settle(self, key: Key) -> None:
        """Somebody has left: what nobody holds stays for as long as there is room."""
        entry = self._entries.get(key)
        if entry is None or entry.opening or (entry.view is not None and entry.view.in_use):
            return
        del self._entries[key]
        if entry.view is not None and not entry.view.gone:
            self._unused[key] = entry
            self._count(entry, entry.view)

    def _count(self, unused: _Entry, view: View) -> None:
        """Counts what the entry holds now, and gives up what is beyond the room."""
        self._unused_octets -= unused.octets
        unused.octets = view.octets + VIEW_OCTETS
        self._unused_octets += unused.octets
        while self._unused_octets > UNUSED_OCTETS:
            self._drop_unused(next(iter(self._unused)))

    def _drop_unused(self, key: Key) -> _Entry | None:
        entry = self._unused.pop(key, None)
        if entry is not None:
            self._unused_octets -= entry.octets
            entry.octets = 0
        return entry

    def _find(self, key: Key) -> _Entry | None:
        return self._entries.get(key) or self._unused.get(key)

    def peek(self, user: str, mailbox: str) -> View | None:
        """The view if it is loaded, as it stands."""
        entry = self._find((user, mailbox))
        return entry.view if entry else None

    def follow(self, user: str, bell: Callable[[], None]) -> None:
        """From now on `bell` hears when a mailbox of the user, or its folder tree, may have changed; until `unfollow`.
        It must neither block nor raise."""
        self._followers.setdefault(user, set()).add(bell)
        self.watch(user)

    def unfollow(self, user: str, bell: Callable[[], None]) -> None:
        self._followers[user].discard(bell)
        if not self._followers[user]:
            del self._followers[user]
        self.unwatch(user)

    def _ring(self, user: str) -> None:
        for bell in self._followers.get(user, ()):
            bell()

    async def _look_at_followed(self) -> None:
        """Rings for the users of whom something has changed since the last look. Raises: Unavailable."""
        users = list(self._followers)
        found: dict[str, tuple[int, int]] = {}
        for start in range(0, len(users), FOLLOWED_AT_ONCE):
            found |= await self._mailboxes.stamps(users[start : start + FOLLOWED_AT_ONCE])
        for user, stamp in found.items():
            if self._stamps.get(user) != stamp:
                self._ring(user)
        self._stamps = found

    async def sync(self, view: View) -> None:
        """Brings the view up to all that was committed before the call."""
        key = (view.mailbox.user, view.mailbox.id)
        entry = self._find(key)
        if entry is not None and entry.view is view:
            await self._refresh(key, entry)

    def committed(self, delta: Delta) -> None:
        """A change of this process is durable: the view follows at once, or a sync is started."""
        key = (delta.mailbox.user, delta.mailbox.id)
        self._ring(delta.mailbox.user)
        entry = self._find(key)
        if entry is None or entry.view is None:
            return
        if not entry.view.apply(delta):
            self.changed(*key)
        if key in self._unused:
            self._count(entry, entry.view)  # it may have grown

    def changed(self, user: str, mailbox: str, modseq: int | None = None) -> None:
        """Somebody says that the mailbox changed: syncs in the background if it is in use and behind."""
        self._ring(user)
        view = self.peek(user, mailbox)
        if view is not None and view.in_use and (modseq is None or modseq > view.mailbox.modseq):
            self._tasks.start(self._sync_quietly(view), f"sync {mailbox}")

    def changed_all(self) -> None:
        """Notifications may have been lost: looks at everything in use."""
        for user, mailbox in list(self._entries):
            self.changed(user, mailbox)

    async def poll(self) -> None:
        """Every 2 s one query over all mailboxes in use, whether or not Redis is up; until cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            used = {key[1]: key for key, entry in self._entries.items() if entry.view is not None and entry.view.in_use}
            try:
                await self._look_at_followed()
                modseqs = await self._mailboxes.modseqs(used) if used else {}
            except DuckmailError as error:
                log.warning("poll failed", extra={"fields": error.fields})
                continue
            for mailbox, key in used.items():
                modseq = modseqs.get(mailbox, -1)
                self.changed(*key, modseq=None if modseq < 0 else modseq)

    async def _sync_quietly(self, view: View) -> None:
        try:
            await self.sync(view)
        except DuckmailError as error:
            log.warning("sync failed", extra={"fields": error.fields})

    async def _refresh(self, key: Key, entry: _Entry) -> None:
        """Loads or syncs; callers that wait while one runs share the next, and its failure: were each to try for itself
        while MongoDB does not answer, the last of many would wait for hours.
        """
        ticket = entry.started
        async with entry.lock:
            if entry.finished > ticket:  # another caller's began after this call
                if entry.failure is not None:
                    raise entry.failure
                return
            entry.started += 1
            mine = entry.started
            entry.failure = None
            try:
                await self._bring_up(key, entry)
            except DuckmailError as error:
                entry.failure = error
            entry.finished = mine
            if entry.failure is not None:
                raise entry.failure

    async def _bring_up(self, key: Key, entry: _Entry) -> None:
        if entry.view is None:
            entry.view = await self._load(key)
        else:
            await self._catch_up(key, entry.view)

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[AsyncClientSession]:
        async with operation():
            session = self._client.start_session(snapshot=True)
            try:
                yield session
            finally:
                await session.end_session()

    async def _mailbox(self, key: Key, session: AsyncClientSession) -> Document | None:
        query = {"_id": object_id(key[1]), "user": object_id(key[0]), "path": {"$exists": True}}
        return await self._database["mailboxes"].find_one(query, session=session)

    async def _load(self, key: Key) -> View:
        user, mailbox = object_id(key[0]), object_id(key[1])
        async with self._snapshot() as session:
            document = await self._mailbox(key, session)
            if document is None:
                raise NotFound("No such mailbox")
            query = {"user": user, "mailbox": mailbox}
            rows = await read_rows(raw_rows(self._database["messages"], query, session))
        return View(to_mailbox(document), rows)

    async def _catch_up(self, key: Key, view: View) -> None:
        user, mailbox = object_id(key[0]), object_id(key[1])
        async with self._snapshot() as session:
            since = view.mailbox.modseq
            document = await self._mailbox(key, session)
            if document is None:
                view.bury()
                self._entries.pop(key, None)
                self._drop_unused(key)
                return
            found = to_mailbox(document)
            if found.modseq <= since:
                view.catch_up(found, _NO_ROWS, ())
                return
            query: Document = {"user": user, "mailbox": mailbox}
            rebuild = since < found.vanishedfloor
            if not rebuild:
                query["modseq"] = {"$gt": since}
            rows = await read_rows(raw_rows(self._database["messages"], query, session))
            expunged = [] if rebuild else await self._expunged(user, mailbox, since, session)
        if rebuild:
            view.rebuild(found, rows)
        else:
            view.catch_up(found, rows, expunged)

    async def vanished(self, view: View, since: int, until: int) -> Ranges | None:
        """What was expunged above modseq `since`, up to `until`; None when that is no longer known one by one.

        Raises: Unavailable.
        """
        user, mailbox = object_id(view.mailbox.user), object_id(view.mailbox.id)
        query: Document = {"user": user, "mailbox": mailbox, "modseq": {"$gt": since, "$lte": until}}
        async with self._snapshot() as session:
            found = await self._mailbox((view.mailbox.user, view.mailbox.id), session)
            if found is None or since < found["vanishedfloor"]:
                return None
            tombstones = await self._database["expunged"].find(query, {"uids": 1}, session=session).to_list(None)
        pairs = [(int(first), int(last)) for row in tombstones for first, last in row["uids"]]
        return await asyncio.to_thread(Ranges.from_pairs, pairs)

    async def _expunged(self, user: ObjectId, mailbox: ObjectId, since: int, session: AsyncClientSession) -> list[int]:
        query = {"user": user, "mailbox": mailbox, "modseq": {"$gt": since}}
        tombstones = await self._database["expunged"].find(query, {"uids": 1}, session=session).to_list(None)
        return [uid for row in tombstones for first, last in row["uids"] for uid in range(first, last + 1)]
