"""What happened to messages: written in pages, found by its keys, gone when its time is over."""

import asyncio
import heapq
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import cast

from bson.raw_bson import RawBSONDocument

from duckmail.model.trace import TraceEntry, Wanted
from storage.mongo import commands, pipeline
from storage.mongo.client import MAJORITY, Database, Document, operation
from storage.traceentries import TraceEntries
from storage.tracepages import (
    day_of,
    days_of,
    entry_of,
    of_account,
    only_of_account,
    pages_of,
    parts_of,
    query_of,
    shown_of,
    without_account,
)

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("tracepages", [("keys", 1), ("at", 1)], {}),
    ("tracepages", [("expires", 1)], {"expireAfterSeconds": 0}),
)

WRITE_SECONDS = 5.0
MOST_PAGES = 5_000  # that one search looks at
READ = 10  # pages in one answer: it takes a few milliseconds to look through them
BATCH = 100  # pages that one statement changes
LATEST = [("at", -1)]
EVERYTHING = Wanted()


class Traces:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._pages = database["tracepages"]
        self._older = TraceEntries(database)

    async def add(self, entries: Sequence[TraceEntry], kept: timedelta) -> None:
        """`entries` in the order in which it happened, their `id` is not looked at. Raises: Unavailable."""
        pages: list[RawBSONDocument] = []
        for part in parts_of(entries):
            pages += map(RawBSONDocument, pages_of(part, kept))
            await asyncio.sleep(0)  # each takes the better part of a millisecond
        async with operation(WRITE_SECONDS):
            # They are encoded already, and go out as they are.
            command = commands.insert_new("tracepages", cast("list[Document]", pages), MAJORITY.document)
            await pipeline.run(self._database, [command])

    async def find(self, wanted: Wanted, limit: int, user: str = "") -> tuple[list[TraceEntry], bool]:
        """The latest, in the order in which it happened, and whether there are, or may be, earlier ones: a search that
        has looked at `MOST_PAGES` ends with what it has. `user`: only what is this account's; "": all.

        Raises: Unavailable.
        """
        older = await self._older.find(wanted, limit + 1, user)
        # The latest of those seen, as a heap with the earliest on top. Ids tell what came first at the same time.
        latest = [(entry.at, entry.id, entry) for entry in reversed(older)]
        keys, looked = wanted.keys, 0
        async with operation(), aclosing(self._matching(wanted, user)) as pages:
            async for page in pages:
                # Nothing in this page, or in those behind it, is later than its `at`.
                if len(latest) > limit and page["at"] < latest[0][0]:
                    break
                if looked == MOST_PAGES:
                    return _entries(latest, limit), True
                looked += 1
                for entry in _exactly(page, keys, user):
                    keep = heapq.heappush if len(latest) <= limit else heapq.heappushpop
                    keep(latest, (entry.at, entry.id, entry))
        return _entries(latest, limit), len(latest) > limit

    async def _matching(self, wanted: Wanted, user: str) -> AsyncGenerator[Document, None]:
        """Pages that may have wanted entries, with little more than these, the latest page first."""
        shown = shown_of(wanted, user)
        for days in await self._days(wanted):
            query = query_of(wanted, user, days)
            async with self._pages.find(query, shown).sort(LATEST).batch_size(READ) as cursor:
                async for page in cursor:
                    yield page

    async def _days(self, wanted: Wanted) -> list[range]:
        """In which there are pages."""
        oldest = await self._pages.find_one({}, {"at": 1}, sort=[("_id", 1)])
        # Of another process' pages one may be a little older.
        return days_of(day_of(oldest["at"]) - 1, wanted) if oldest is not None else []

    async def forget(self, user: str) -> int:
        """Takes all that is an account's out of the pages, in batches; from how many of them. Raises: Unavailable."""
        async with operation():
            days = await self._days(EVERYTHING)
        return sum([await self._forget(user, each) for each in days])

    async def _forget(self, user: str, days: range) -> int:
        query, number = of_account(user, days), 0
        while True:
            async with operation():
                rows = await self._pages.find(query, {"_id": 1}).limit(BATCH).to_list(None)
                if not rows:
                    return number
                ids: Document = {"_id": {"$in": [row["_id"] for row in rows]}}
                await self._pages.delete_many({**ids, **only_of_account(user)})
                await self._pages.update_many(ids, without_account(user))
            number += len(rows)


def _exactly(page: Document, keys: list[list[str]], user: str) -> Iterator[TraceEntry]:
    """The entries that are under one of each of `keys`; MongoDB compared their numbers."""
    for row in page["entries"]:
        entry = entry_of(row, page["_id"])
        known = entry.keys
        if user in ("", entry.user) and all(any(key in known for key in each) for each in keys):
            yield entry


def _entries(latest: Sequence[tuple[datetime, str, TraceEntry]], limit: int) -> list[TraceEntry]:
    return [entry for _, _, entry in sorted(latest)[-limit:]]
