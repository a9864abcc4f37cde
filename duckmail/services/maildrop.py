"""The maildrop of a POP3 session: what of INBOX is listed, read and, at its end, changed.

- It is a snapshot of the newest `pop3_max_messages` of INBOX, oldest first, taken under an exclusive lock. Messages are
  named by their place in it, from 1; no place ever means another message.
- Nothing changes before `commit`. Then what was retrieved is \\Seen, and what was deleted is \\Seen in Trash, or
  expunged. Without a mailbox for \\Trash it is expunged too: to fail would keep the user from ever deleting mail, and
  what is expunged can be restored for weeks.
- A message's unique-id is its EMAILID, which stays with it through moves. A copy has that of its original, and so its
  own id is added: of many messages with one EMAILID each keeps its unique-id, whichever of them come and go.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass

from duckmail.errors import NotFound, TemporaryError
from duckmail.model.account import Principal
from duckmail.model.mailbox import INBOX
from duckmail.model.message import FlagChange, FlagOperation, Needs, StoredMessage
from duckmail.model.ranges import Ranges
from duckmail.services.downloads import Downloads
from duckmail.services.mail import Mail
from storage.maildrops import Lock
from storage.store import Store
from storage.views import View

PIECE = 256 * 1024  # octets
# Clients fetch one message after the other: so many are loaded in one go, and kept until they are asked for.
AHEAD_MESSAGES = 32
AHEAD_OCTETS = 256 * 1024

SEEN = FlagChange(FlagOperation.ADD, ("\\Seen",))
DELETED = FlagChange(FlagOperation.ADD, ("\\Deleted",))


@dataclass(frozen=True, slots=True)
class Entry:
    """A message of the maildrop. `size`: octets as they are read. `unique_id`: RFC 1939 §7, at most 49 of 70 octets."""

    uid: int
    size: int
    unique_id: str


class Maildrops:
    """Opens maildrops. `mail`: the mailboxes of a principal. `expunge`: deleted messages do not go to Trash."""

    def __init__(self, store: Store, mail: Callable[[Principal], Mail], *, expunge: bool = False) -> None:
        self._store = store
        self._mail = mail
        self._expunge = expunge

    async def open(self, principal: Principal) -> "Maildrop":
        """The maildrop of now, held until `Maildrop.close`.

        Raises:
            InUse: another session has it.
            NotFound: there is no INBOX, or no account any more.
            Unavailable.
        """
        mail = self._mail(principal)
        async with AsyncExitStack() as stack:
            locks = self._store.maildrops
            lock = await locks.acquire(principal.user)
            stack.push_async_callback(locks.release, lock)
            limits = (await self._store.users.get(principal.user)).allowed
            listener = _Silent()
            view = await mail.open(INBOX, listener)
            stack.callback(mail.close_view, view, listener)
            newest = list(view.uids[-limits.pop3_max_messages :])
            batches = mail.fetch(view, newest, Needs.META)
            entries = [_entry(message) async for batch in batches for message in batch]
            downloads = Downloads(self._store, principal.user, "pop3")
            stack.push_async_callback(self._store.traffic.flush)
            changes = _Changes(self._store, mail, view, lock, self._expunge)
            return Maildrop(entries, _Reader(mail, view, entries), downloads, changes, stack.pop_all())


class Maildrop:
    """One session's; see the module. Numbers are those of RFC 1939: from 1, oldest first."""

    def __init__(
        self,
        entries: list[Entry],
        reader: "_Reader",
        downloads: Downloads,
        changes: "_Changes",
        held: AsyncExitStack,
    ) -> None:
        """Used by `Maildrops.open`. `held`: what is given back at the end."""
        self._entries = entries
        self._reader = reader
        self._downloads = downloads
        self._changes = changes
        self._held = held
        self._octets = sum(entry.size for entry in entries)
        self._deleted: set[int] = set()
        self._deleted_octets = 0
        self._retrieved: set[int] = set()

    def status(self) -> tuple[int, int]:
        """Messages that are not deleted, and their octets."""
        return len(self._entries) - len(self._deleted), self._octets - self._deleted_octets

    def entry(self, number: int) -> Entry:
        """Raises: NotFound: there is no such message, or it is deleted."""
        if not 1 <= number <= len(self._entries):
            raise NotFound("No such message")
        if number in self._deleted:
            raise NotFound("This message is deleted")
        return self._entries[number - 1]

    def entries(self) -> Iterator[tuple[int, Entry]]:
        """All that are not deleted, by number."""
        for number, entry in enumerate(self._entries, 1):
            if number not in self._deleted:
                yield number, entry

    def delete(self, number: int) -> None:
        """Marks it, for `commit`. Raises: NotFound."""
        self._deleted_octets += self.entry(number).size
        self._deleted.add(number)

    def reset(self) -> None:
        """Takes all those marks back."""
        self._deleted.clear()
        self._deleted_octets = 0

    async def retrieve(self, number: int) -> AsyncGenerator[bytes, None]:
        """The whole message in pieces; read to its end, it will be \\Seen.

        Raises:
            NotFound.
            RateLimited: the account has fetched as much as it may in a day.
            TemporaryError: another program has removed it from INBOX meanwhile.
            Unavailable.
        """
        self.entry(number)
        await self._downloads.require()
        message = await self._reader.whole(number)
        async with aclosing(_whole(message)) as pieces:
            async for piece in pieces:
                self._downloads.took(len(piece))
                yield piece
        self._retrieved.add(number)

    async def top(self, number: int, lines: int) -> AsyncGenerator[bytes, None]:
        """Its header, the empty line behind it, and the first `lines` lines of its body. Raises as `retrieve`."""
        self.entry(number)
        await self._downloads.require()
        message = await self._reader.load(number, Needs.HEADER | (Needs.CONTENT if lines else Needs.NOTHING))
        async with aclosing(_top(message, lines)) as pieces:
            async for piece in pieces:
                self._downloads.took(len(piece))
                yield piece

    async def commit(self) -> None:
        """Carries out what the session asked for; durable on return. What is gone already is left out.

        In transactions of at most 1,000 messages each: after an error some messages may be changed and others not.

        Raises:
            InUse: this process stalled, and another session has the maildrop now. Nothing is changed.
            Unavailable, CommitUnknown, NotFound, LimitReached.
        """
        await self._changes.commit(self._ranges(self._retrieved | self._deleted), self._ranges(self._deleted))

    def _ranges(self, numbers: set[int]) -> Ranges:
        return Ranges.from_sorted(self._entries[number - 1].uid for number in sorted(numbers))

    async def close(self) -> None:
        """Gives the maildrop back, whether or not `commit` was called."""
        await self._held.aclose()


class _Reader:
    """Loads messages by number, some ahead."""

    def __init__(self, mail: Mail, view: View, entries: list[Entry]) -> None:
        self._mail = mail
        self._view = view
        self._entries = entries
        self._ahead: dict[int, StoredMessage] = {}
        self._last = 0  # the number asked for last

    async def whole(self, number: int) -> StoredMessage:
        """With its content. Raises: TemporaryError, Unavailable."""
        message = self._ahead.pop(number, None)
        if message is None:
            last = self._run_from(number) if number == self._last + 1 else number
            self._ahead = await self._load(range(number, last + 1), Needs.CONTENT)
            message = self._ahead.pop(number, None)
        self._last = number
        return _present(message)

    async def load(self, number: int, needs: Needs) -> StoredMessage:
        """Raises: TemporaryError, Unavailable."""
        return _present((await self._load(range(number, number + 1), needs)).get(number))

    def _run_from(self, number: int) -> int:
        """The last of those that are loaded together with `number`."""
        room = AHEAD_OCTETS
        last = number
        for entry in self._entries[number : number + AHEAD_MESSAGES - 1]:
            room -= entry.size
            if room < 0:
                break
            last += 1
        return last

    async def _load(self, numbers: range, needs: Needs) -> dict[int, StoredMessage]:
        """Those that still exist, by number."""
        by_uid = {self._entries[number - 1].uid: number for number in numbers}
        batches = self._mail.fetch(self._view, list(by_uid), needs)
        return {by_uid[message.uid]: message async for batch in batches for message in batch}


class _Changes:
    """Makes the changes of a session, all at its end."""

    def __init__(self, store: Store, mail: Mail, view: View, lock: Lock, expunge: bool) -> None:
        self._store = store
        self._mail = mail
        self._view = view
        self._lock = lock
        self._expunge = expunge

    async def commit(self, seen: Ranges, deleted: Ranges) -> None:
        """`deleted` is part of `seen`."""
        if not seen:
            return
        await self._store.maildrops.confirm(self._lock)
        await self._mail.sync(self._view)
        trash = await self._trash() if deleted and not self._expunge else None
        await self._mail.store_flags(self._view, seen, SEEN)
        if deleted and trash is not None:
            await self._mail.move(self._view, deleted, trash)
        elif deleted:
            await self._mail.store_flags(self._view, deleted, DELETED)
            await self._mail.expunge(self._view, deleted)

    async def _trash(self) -> str | None:
        """The path of the mailbox whose special use is \\Trash, whatever its name."""
        return next((found.path for found in await self._mail.mailboxes() if found.special_use == "\\Trash"), None)


class _Silent:
    """Holds a view without listening: the snapshot is taken once."""

    def view_changed(self, expunged: object) -> None:
        del expunged


def _entry(message: StoredMessage) -> Entry:
    copied = message.id != message.emailid
    return Entry(message.uid, message.size, f"{message.emailid}-{message.id}" if copied else message.emailid)


def _present(message: StoredMessage | None) -> StoredMessage:
    if message is None:
        raise TemporaryError("Another program has removed this message meanwhile")
    return message


async def _whole(message: StoredMessage) -> AsyncGenerator[bytes, None]:
    head = message.prefix  # together with the first octets of the content: nothing is given before they could be read
    async for piece in _content(message, 0):
        yield head + piece
        head = b""
    if head:
        yield head


async def _top(message: StoredMessage, lines: int) -> AsyncGenerator[bytes, None]:
    header = message.prefix + message.header
    for start in range(0, len(header), PIECE):
        yield header[start : start + PIECE]
    if not lines:
        return
    async with aclosing(_content(message, len(message.header))) as pieces:
        async for piece in pieces:
            end, lines = cut(piece, lines)
            yield piece[:end]
            if not lines:
                return


async def _content(message: StoredMessage, start: int) -> AsyncGenerator[bytes, None]:
    if message.content is None:
        raise AssertionError("the content was not loaded")
    async for piece in message.content.read(start):
        yield piece
        await asyncio.sleep(0)


def cut(piece: bytes, lines: int) -> tuple[int, int]:
    """Where the first `lines` lines (at least 1) of `piece` end, and how many of them are still to come behind it.

    A line ends with its LF. By halves: a message of empty lines costs no more than any other (H7).
    """
    there = piece.count(b"\n")
    if there < lines:
        return len(piece), lines - there
    low, high = 0, len(piece)
    while high - low > 1:
        middle = (low + high) // 2
        before = piece.count(b"\n", low, middle)
        if before >= lines:
            high = middle
        else:
            low, lines = middle, lines - before
    return high, 0
