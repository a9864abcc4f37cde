"""What came of TLS with the servers of each domain, counted by day until it is reported (RFC 8460)."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from bson.int64 import Int64
from pymongo import UpdateOne

from duckmail.model.transport import Applied, Failure, Found, Session
from storage.mongo.client import Database, operation

KEPT = timedelta(days=8)  # whatever becomes of a report
MOST_RESULTS = 1_000  # of a domain and day that are read

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("tlsresults", [("day", 1), ("domain", 1)], {}),
    ("tlsresults", [("expires", 1)], {"expireAfterSeconds": 0}),
)


@dataclass(frozen=True, slots=True)
class Counted:
    """Sessions of one kind."""

    session: Session
    count: int


class TlsResults:
    def __init__(self, database: Database) -> None:
        self._results = database["tlsresults"]

    async def add(self, day: date, counts: Mapping[Session, int]) -> None:
        """One statement for all. Raises: Unavailable: it may be that some are counted."""
        if not counts:
            return
        expires = datetime(day.year, day.month, day.day, tzinfo=UTC) + KEPT
        updates = [
            UpdateOne(
                {"_id": _key(day, session)},
                {"$inc": {"count": Int64(count)}, "$setOnInsert": _fields(day, session, expires)},
                upsert=True,
            )
            for session, count in counts.items()
        ]
        async with operation():
            await self._results.bulk_write(updates, ordered=False)

    async def domains(self, before: date, most: int) -> list[tuple[date, str]]:
        """Days that are over, each with a domain that has results; oldest first. Raises: Unavailable."""
        stages: list[Mapping[str, object]] = [
            {"$match": {"day": {"$lt": before.isoformat()}}},
            {"$group": {"_id": {"day": "$day", "domain": "$domain"}}},
            {"$sort": {"_id.day": 1, "_id.domain": 1}},
            {"$limit": most},
        ]
        async with operation():
            cursor = await self._results.aggregate(stages)
            found = await cursor.to_list(None)
        return [(date.fromisoformat(row["_id"]["day"]), row["_id"]["domain"]) for row in found]

    async def of(self, day: date, domain: str) -> list[Counted]:
        """Raises: Unavailable."""
        query = {"day": day.isoformat(), "domain": domain}
        async with operation():
            rows = await self._results.find(query).to_list(MOST_RESULTS)
        return [
            Counted(
                Session(
                    Applied(domain, Found(row["found"]), tuple(row["strings"]), tuple(row["mx"])),
                    row["host"],
                    row["address"],
                    Failure(row["failure"]) if row["failure"] else None,
                ),
                int(row["count"]),
            )
            for row in rows
        ]

    async def remove(self, day: date, domain: str) -> None:
        """It is reported, or nobody wants to know. Raises: Unavailable."""
        async with operation():
            await self._results.delete_many({"day": day.isoformat(), "domain": domain})


def _fields(day: date, session: Session, expires: datetime) -> dict[str, object]:
    return {
        "day": day.isoformat(),
        "domain": session.applied.domain,
        "found": session.applied.found.value,
        "strings": list(session.applied.strings),
        "mx": list(session.applied.mx),
        "host": session.host,
        "address": session.address,
        "failure": session.failure.value if session.failure else "",
        "expires": expires,
    }


def _key(day: date, session: Session) -> str:
    applied = session.applied
    failure = session.failure.value if session.failure else ""
    words = (day.isoformat(), applied.domain, applied.found.value, *applied.strings, session.host, session.address)
    return hashlib.sha256("\0".join((*words, failure)).encode()).hexdigest()
