"""Following an account: what changes in its mailboxes, as it happens, from positions that a client may come back to.

- What happened is read from the messages and tombstones by modseq, as IMAP reads it; a notification only wakes us, and
  every `POLL_SECONDS` one query looks at all accounts that are followed. A lost one costs time, no update.
- Updates come in batches, at most one a second for each follower; the last of a batch carries the position behind it.
  A client that is cut off within a batch is told that batch again.
- A follower ends with what let it in: when the account is logged out, disabled or gone, or its token is.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from time import monotonic

from duckmail.errors import LimitReached, Unavailable
from duckmail.model.account import Principal, User
from duckmail.model.mailbox import Mailbox
from duckmail.model.updates import Position, Spot, Update
from duckmail.runtime.log import event
from duckmail.services.access import require_account
from duckmail.services.sessions import Sessions
from storage.store import Store

_logger = logging.getLogger("duckmail.updates")

POLL_SECONDS = 2.0
PAUSE_SECONDS = 1.0  # between batches
IDLE_SECONDS = 15.0
LIFETIME_SECONDS = 30 * 60.0
MOST_FOLLOWERS = 50  # of an account, in a process
BATCH = 1000  # accounts in one query


@dataclass(frozen=True, slots=True)
class Part:
    """Updates to be sent at once; none: a sign of life. `position`: key, behind the last one; "" within a batch."""

    updates: list[Update]
    position: str = ""


@dataclass(slots=True, eq=False)
class _Follower:
    bell: asyncio.Event
    ended: str = ""
    over: bool = False

    def end(self, why: str) -> None:
        self.ended = why
        self.bell.set()


class Updates:
    def __init__(self, store: Store, sessions: Sessions, idle: float = IDLE_SECONDS) -> None:
        """Takes the store's news of mailboxes. `idle`: seconds between signs of life."""
        self._store = store
        self._sessions = sessions
        self._idle = idle
        self._followers: dict[str, set[_Follower]] = {}  # by account
        store.mailbox_changed = self._ring

    @property
    def followers(self) -> int:
        return sum(map(len, self._followers.values()))

    def close(self) -> None:
        """All who follow are let go, without a word: the process ends, and they find another."""
        for follower in [each for followers in self._followers.values() for each in followers]:
            follower.over = True
            follower.bell.set()

    def _ring(self, user: str) -> None:
        for follower in self._followers.get(user, ()):
            follower.bell.set()

    async def keep(self) -> None:
        """Looks in time at all accounts that are followed; until cancelled."""
        known: dict[str, tuple[int, int]] = {}
        while True:
            await asyncio.sleep(POLL_SECONDS)
            users = sorted(self._followers)
            try:
                found: dict[str, tuple[int, int]] = {}
                for start in range(0, len(users), BATCH):
                    found |= await self._store.mailboxes.stamps(users[start : start + BATCH])
            except Unavailable as error:  # the next look comes soon
                event(_logger, logging.DEBUG, "updates not looked for", fields=error.fields)
                continue
            for user in users:
                if found.get(user) != known.get(user):
                    self._ring(user)
            known = found

    async def follow(self, user: str, last: str, by: Principal, token: bytes = b"") -> AsyncIterator[Part]:
        """What changes from position `last` on, from now on without one or when it is not known any more.

        Args:
            token: digest of what let the caller in, who is let go with it; b"" for none.

        Raises: NotFound, NotPermitted, LimitReached, Unavailable.
        """
        require_account(by, user)
        account = await self._store.users.get(user)
        if len(self._followers.get(user, ())) >= MOST_FOLLOWERS:
            raise LimitReached("The account is followed too often already")
        position = await self._store.positions.load(user, last) if last else None
        mailboxes = await self._store.mailboxes.list(user)
        counted = {} if position else {each.id: _counters(each) for each in mailboxes}
        if position is None:
            position = {each.id: _spot(each) for each in mailboxes}
        return self._parts(account, position, counted, token)

    @contextmanager
    def _following(self, account: User, token: bytes) -> Iterator[_Follower]:
        follower = _Follower(asyncio.Event())
        principal = Principal(
            account.id,
            account.username,
            scope="api",
            auth_version=account.auth_version,
            session_version=account.session_version,
            token=token,
        )
        self._followers.setdefault(account.id, set()).add(follower)
        try:
            with self._sessions.joined(principal, follower.end):
                yield follower
        finally:
            followers = self._followers[account.id]
            followers.discard(follower)
            if not followers:
                del self._followers[account.id]

    async def _parts(
        self, account: User, position: Position, counted: dict[str, tuple[int, int]], token: bytes
    ) -> AsyncIterator[Part]:
        end = monotonic() + LIFETIME_SECONDS
        with self._following(account, token) as follower:
            while monotonic() < end and not follower.over:
                follower.bell.clear()
                news = _News(self._store, position, counted)
                last: Part | None = None
                async for updates in news.read(account.id):
                    if last is not None:
                        yield last
                    last = Part(updates)
                if last is not None:
                    position = news.reached
                    yield Part(last.updates, await self._store.positions.save(account.id, position))
                    await asyncio.sleep(PAUSE_SECONDS)
                elif not await self._wait(follower):
                    yield Part([])
                if follower.ended:
                    yield Part([Update("LOGOUT", {"reason": follower.ended})])
                    return

    async def _wait(self, follower: _Follower) -> bool:
        """Whether there is something to look at."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._idle):
                await follower.bell.wait()
                return True
        return False


class _News:
    """One look at the mailboxes of an account: what is new since a position, and the position that is reached."""

    def __init__(self, store: Store, since: Position, counted: dict[str, tuple[int, int]]) -> None:
        """`counted`: messages and unseen ones by mailbox, as they were told last; brought up to date."""
        self._store = store
        self._since = since
        self._counted = counted
        self.reached: Position = {}

    async def read(self, user: str) -> AsyncIterator[list[Update]]:
        """Pages that are not empty. Raises: Unavailable."""
        mailboxes = await self._store.mailboxes.list(user)
        self.reached = {each.id: _spot(each) for each in mailboxes}
        folders = list(self._folders(mailboxes))
        if folders:
            yield folders
        for mailbox in mailboxes:
            known = self._since.get(mailbox.id, _NEW)
            if mailbox.modseq <= known.modseq:
                continue
            loud = False
            async for updates in self._messages(mailbox, known):
                loud = loud or any(each.command != "FETCH" for each in updates)
                yield updates
            told = self._counted.get(mailbox.id, None if mailbox.id in self._since else (0, 0))
            now = _counters(mailbox)
            if loud or told != now:
                self._counted[mailbox.id] = now
                yield [Update("COUNTERS", {"mailbox": mailbox.id, "total": now[0], "unseen": now[1]})]

    def _folders(self, mailboxes: list[Mailbox]) -> Iterator[Update]:
        for mailbox in mailboxes:
            known = self._since.get(mailbox.id)
            if known is None:
                yield Update("CREATE", {"mailbox": mailbox.id, "path": mailbox.path})
            elif known.path != self.reached[mailbox.id].path:
                yield Update("RENAME", {"mailbox": mailbox.id, "path": mailbox.path})
        for gone in self._since.keys() - self.reached.keys():
            yield Update("DELETE", {"mailbox": gone})

    async def _messages(self, mailbox: Mailbox, known: Spot) -> AsyncIterator[list[Update]]:
        positions = self._store.positions
        async for gone in positions.expunged(mailbox, known.modseq):
            yield [Update("EXPUNGE", {"mailbox": mailbox.id, "uid": uid, "message": message}) for uid, message in gone]
        async for rows in positions.changed(mailbox, known.modseq):
            updates = []
            for row in rows:
                about: dict[str, object] = {
                    "mailbox": mailbox.id, "uid": row.uid, "message": row.id, "thread": row.thread
                }  # fmt: skip
                if row.uid < known.uidnext:
                    updates.append(Update("FETCH", {**about, "flags": list(row.flags)}))
                else:
                    junk = {"junk": True} if mailbox.special_use == "\\Junk" else {}
                    updates.append(Update("EXISTS", {**about, "idate": row.idate, **junk}))
            yield updates


_NEW = Spot(0, 1, b"")


def _spot(mailbox: Mailbox) -> Spot:
    return Spot(mailbox.modseq, mailbox.uidnext, sha256(mailbox.path.encode()).digest()[:8])


def _counters(mailbox: Mailbox) -> tuple[int, int]:
    return mailbox.messages, mailbox.unseen
