"""The story of each message, noted as it happens and written a little later; read by who it belongs to.

- Nothing waits for it: `note` puts an entry into a buffer, which one task empties. What the buffer has no room for, or
  what cannot be written, is left out and counted (`duckmail_trace_entries_total`).
- Refusals are noted too, `each` of a network and `most` of all in an hour; more are counted, so that a flood of them
  neither fills the database nor takes the room of mail.
- No content: addresses, hosts, results and words of servers, each cut at `LONGEST` characters.
- An account reads what is its own, the server's managers everything. Entries end by themselves.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from duckmail.errors import DuckmailError
from duckmail.model.account import Principal
from duckmail.model.mailbox import Mailbox
from duckmail.model.trace import Step, TraceEntry, Wanted, cut, normal_id
from duckmail.runtime import metrics
from duckmail.runtime.log import event
from duckmail.services.access import SERVER_ROLES, require_account
from duckmail.services.allowance import Allowance

WRITE_SECONDS = 1.0  # how late it is written
MOST = 10_000  # entries that wait
BATCH = 500  # entries in one statement
LONGEST = 500  # characters of one text
LONGEST_LIST = 100
LAST_SECONDS = 3.0  # for what waits at the end of a process
WINDOW = 3600.0  # seconds in which refusals are limited
REFUSALS_EACH, REFUSALS_MOST = 20, 2000

_logger = logging.getLogger("duckmail.trace")


class Records(Protocol):
    """What is needed of `storage.traces.Traces`."""

    async def add(self, entries: Sequence[TraceEntry], kept: timedelta, /) -> None: ...

    async def find(self, wanted: Wanted, limit: int, user: str = "", /) -> tuple[list[TraceEntry], bool]: ...


class Mailboxes(Protocol):
    """What is needed of `storage.mailboxes.Mailboxes`."""

    async def by_ids(self, mailboxes: Sequence[str], /) -> Mapping[str, Mailbox]: ...


@dataclass(frozen=True, slots=True)
class Story:
    """`more`: there are, or may be, earlier entries than these."""

    entries: Sequence[TraceEntry]
    more: bool = False


class Tracing:
    """`keep`: seconds that entries are kept; 0: nothing is noted. `refusals`: how many of them are noted."""

    def __init__(self, records: Records, mailboxes: Mailboxes, keep: float, refusals: Allowance | None = None) -> None:
        self._records = records
        self._mailboxes = mailboxes
        self._kept = timedelta(seconds=keep)
        self._waiting: list[TraceEntry] = []
        self._full = asyncio.Event()
        self._refusals = refusals or Allowance(REFUSALS_EACH, REFUSALS_MOST, WINDOW)

    def note(self, step: Step, message_id: str, user: str, about: Mapping[str, object]) -> None:
        """It has happened. `message_id`: "" where there is no message yet. `about`: what is empty is left out."""
        if not self._kept:
            return
        if len(self._waiting) >= MOST:
            metrics.TRACES["dropped"].inc()
            return
        self._waiting.append(TraceEntry(normal_id(message_id), user, step, datetime.now(UTC), _told(about)))
        if len(self._waiting) >= BATCH:
            self._full.set()

    def refuse(self, source: str, reason: str, message_id: str, user: str, about: Mapping[str, object]) -> None:
        """As `note`, of what was not taken. `source`: the network it came from, or the account, "" for a relay of ours.
        `reason`: one word, by which those are counted that are not noted one by one."""
        if self._kept and self._refusals.take(source, reason):
            self.note(Step.REFUSED, message_id, user, {"reason": reason, **about})

    def note_counted(self, *, early: bool = False) -> None:
        for each in self._refusals.ended(early=early):
            about = {"from": each.source or "others", "notNoted": dict(each.reasons), "seconds": round(each.seconds)}
            self.note(Step.REFUSED, "", "" if "/" in each.source else each.source, about)

    async def find(self, wanted: Wanted, limit: int, by: Principal) -> Story:
        """What `by` may see of it: the latest, in the order in which it happened. Raises: NotPermitted, Unavailable."""
        user = "" if by.role in SERVER_ROLES else by.user
        if by.role not in SERVER_ROLES:
            require_account(by, user)
        found, more = await self._records.find(wanted, limit, user) if wanted.keys else ([], False)
        return Story(await self._named(found), more)

    async def _named(self, entries: Sequence[TraceEntry]) -> Sequence[TraceEntry]:
        """With the paths of the mailboxes, as they are now."""
        ids = {str(entry.about["mailbox"]) for entry in entries if "mailbox" in entry.about}
        known = await self._mailboxes.by_ids(list(ids)) if ids else {}
        return [
            entry._replace(about={**entry.about, "path": known[mailbox].path})
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
            self.note_counted()
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
        self.note_counted(early=True)
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await self.flush()
        except TimeoutError:
            event(_logger, logging.WARNING, "not traced", number=len(self._waiting))


def _told(about: Mapping[str, object]) -> dict[str, object]:
    """Without what is empty, and with a bound to each text. Once for each delivery: what is usual goes first."""
    told: dict[str, object] = {}
    for key, value in about.items():
        if type(value) is str:
            if value:
                told[key] = value if len(value) <= LONGEST and value.isascii() else cut(value, LONGEST)
        elif value or isinstance(value, int | float):
            told[key] = _bounded(value)
    return told


def _bounded(value: object) -> object:
    if isinstance(value, str):
        return cut(value, LONGEST)
    if isinstance(value, int | float):
        return value
    if isinstance(value, Mapping):
        return {key: _bounded(each) for key, each in value.items() if each not in ("", None)}
    if isinstance(value, list | tuple):
        return [_bounded(each) for each in value[:LONGEST_LIST]]
    return value
