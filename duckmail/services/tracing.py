"""The story of each message, noted as it happens and written a little later; read by who it belongs to.

- Nothing waits for it: `note` puts an entry into a buffer, which one task empties. What the buffer has no room for, or
  what cannot be written, is left out and counted (`duckmail_trace_entries_total`).
- No content: addresses, hosts, results and words of servers, each cut at `LONGEST` characters.
- An account reads what is its own, the server's managers everything. Entries end by themselves.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from duckmail.errors import DuckmailError
from duckmail.model.account import Principal
from duckmail.model.mailbox import Mailbox
from duckmail.model.trace import Step, TraceEntry, normal_id
from duckmail.runtime import metrics
from duckmail.runtime.log import event
from duckmail.services.access import SERVER_ROLES, require_account

WRITE_SECONDS = 1.0  # how late it is written
MOST = 10_000  # entries that wait
BATCH = 500  # entries in one statement
LONGEST = 500  # characters of one text
LONGEST_LIST = 100
LAST_SECONDS = 3.0  # for what waits at the end of a process

_logger = logging.getLogger("duckmail.trace")


class Records(Protocol):
    """What is needed of `storage.traces.Traces`."""

    async def add(self, entries: Sequence[TraceEntry], kept: timedelta, /) -> None: ...

    async def find(self, message_id: str, limit: int, user: str = "", /) -> list[TraceEntry]: ...


class Mailboxes(Protocol):
    """What is needed of `storage.mailboxes.Mailboxes`."""

    async def by_ids(self, mailboxes: Sequence[str], /) -> Mapping[str, Mailbox]: ...


@dataclass(frozen=True, slots=True)
class Story:
    """`more`: there are more entries than were asked for."""

    message_id: str
    entries: Sequence[TraceEntry]
    more: bool = False


class Tracing:
    """`keep`: seconds that entries are kept; 0: nothing is noted."""

    def __init__(self, records: Records, mailboxes: Mailboxes, keep: float) -> None:
        self._records = records
        self._mailboxes = mailboxes
        self._kept = timedelta(seconds=keep)
        self._waiting: list[TraceEntry] = []
        self._full = asyncio.Event()

    def note(self, step: Step, message_id: str, user: str, about: Mapping[str, object]) -> None:
        """It has happened. A message without a Message-ID has no story. `about`: without what is empty."""
        name = normal_id(message_id)
        if not self._kept or not name:
            return
        if len(self._waiting) >= MOST:
            metrics.TRACES["dropped"].inc()
            return
        said = {key: _bounded(value) for key, value in about.items() if value not in ("", None, [], {})}
        self._waiting.append(TraceEntry(name, user, step, datetime.now(UTC), said))
        if len(self._waiting) >= BATCH:
            self._full.set()

    async def find(self, message_id: str, limit: int, by: Principal) -> Story:
        """What `by` may see of it. Raises: NotPermitted, Unavailable."""
        user = "" if by.role in SERVER_ROLES else by.user
        if by.role not in SERVER_ROLES:
            require_account(by, user)
        name = normal_id(message_id)
        found = await self._records.find(name, limit + 1, user) if name else []
        return Story(name, await self._named(found[:limit]), len(found) > limit)

    async def _named(self, entries: Sequence[TraceEntry]) -> Sequence[TraceEntry]:
        """With the paths of the mailboxes, as they are now."""
        ids = {str(entry.about["mailbox"]) for entry in entries if "mailbox" in entry.about}
        known = await self._mailboxes.by_ids(list(ids)) if ids else {}
        return [
            replace(entry, about={**entry.about, "path": known[mailbox].path})
            if (mailbox := str(entry.about.get("mailbox", ""))) in known
            else entry
            for entry in entries
        ]

    async def keep(self) -> None:
        """Writes what was noted, for ever."""
        while True:
            try:
                async with asyncio.timeout(WRITE_SECONDS):
                    await self._full.wait()
            except TimeoutError:
                pass
            await self.flush()

    async def flush(self) -> None:
        """Writes what was noted until now."""
        self._full.clear()
        for _ in range(-(-len(self._waiting) // BATCH)):
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            try:
                await self._records.add(batch, self._kept)
            except DuckmailError as error:
                metrics.TRACES["dropped"].inc(len(batch))
                event(_logger, logging.WARNING, "not traced", number=len(batch), fields=error.fields)
            else:
                metrics.TRACES["written"].inc(len(batch))

    async def close(self) -> None:
        """Writes what waits, if that is quick."""
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await self.flush()
        except TimeoutError:
            event(_logger, logging.WARNING, "not traced", number=len(self._waiting))


def _bounded(value: object) -> object:
    if isinstance(value, str):
        short = value[:LONGEST]
        return short if short.isascii() else short.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {key: _bounded(each) for key, each in value.items() if each not in ("", None)}
    if isinstance(value, list | tuple):
        return [_bounded(each) for each in value[:LONGEST_LIST]]
    return value
