"""What a check finds, and what it counts on its way."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pymongo.asynchronous.client_session import AsyncClientSession

from storage.mongo.client import Database, Document, operation

# MongoDB keeps the past of a snapshot for 5 minutes (minSnapshotHistoryWindowInSeconds).
SNAPSHOT_SECONDS = 290.0


@dataclass(frozen=True, slots=True)
class Difference:
    """`where`: the thing, for people. `what`: what is wrong with it. `expected`, `found`: as text, empty where the
    words say it all."""

    where: str
    what: str
    expected: str = ""
    found: str = ""
    repaired: bool = False

    def __str__(self) -> str:
        values = f": {self.found}, should be {self.expected}" if self.expected else f": {self.found}"
        return f"{self.where}: {self.what}{values if self.found else ''}{' (repaired)' if self.repaired else ''}"


@dataclass(slots=True)
class Counts:
    """What was looked at, and how much of it nobody names: the sweep removes that in its time."""

    accounts: int = 0
    mailboxes: int = 0
    messages: int = 0
    archived: int = 0
    queued: int = 0
    audited: int = 0
    contents: int = 0
    parts: int = 0
    unnamed_contents: int = 0
    unnamed_texts: int = 0
    unnamed_parts: int = 0
    unnamed_files: int = 0


async def walk(
    batch: Callable[[object], Awaitable[tuple[list[Difference], list[Document]]]],
    size: int,
    where: Callable[[Document], str],
    read: Callable[[Document], Awaitable[Difference | None]] | None,
) -> AsyncIterator[Difference]:
    """Of a whole collection, in order of its ids.

    Args:
        batch: what is wrong with the next documents, and these: at most `size`, behind an id, from the start for None.
        where: the name of a document in a `Difference`.
        read: finds out whether all octets are there, of those that nothing else is wrong with; None: nobody does.
    """
    last: object = None
    while True:
        differences, rows = await batch(last)
        damaged = {difference.where for difference in differences}
        for difference in differences:
            yield difference
        if read is not None:
            for row in rows:
                if where(row) not in damaged and (found := await read(row)) is not None:
                    yield found
        if len(rows) < size:
            return
        last = rows[-1]["_id"]


@asynccontextmanager
async def snapshot(database: Database) -> AsyncIterator[AsyncClientSession]:
    """A session whose reads all show one moment. Raises: Unavailable, also when it is open for too long."""
    async with operation(SNAPSHOT_SECONDS), database.client.start_session(snapshot=True) as session:
        yield session
