"""What a check finds, and what it counts on its way."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pymongo.asynchronous.client_session import AsyncClientSession

from storage.mongo.client import Database, operation

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


@asynccontextmanager
async def snapshot(database: Database) -> AsyncIterator[AsyncClientSession]:
    """A session whose reads all show one moment. Raises: Unavailable, also when it is open for too long."""
    async with operation(SNAPSHOT_SECONDS), database.client.start_session(snapshot=True) as session:
        yield session
