"""What is counted by day and domain, over all processes, until it is reported."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Generic, TypeVar

from bson.int64 import Int64
from pymongo import UpdateOne

from storage.mongo.client import Database, operation

KEPT = timedelta(days=8)  # whatever becomes of a report
MOST_RESULTS = 1_000  # of a domain and day that are read

Kind = TypeVar("Kind", bound=Hashable)
Index = tuple[str, list[tuple[str, int]], dict[str, object]]


@dataclass(frozen=True, slots=True)
class Counted(Generic[Kind]):
    """How often one kind of thing was seen."""

    kind: Kind
    count: int


def indexes(collection: str) -> tuple[Index, ...]:
    return (
        (collection, [("day", 1), ("domain", 1)], {}),
        (collection, [("expires", 1)], {"expireAfterSeconds": 0}),
    )


class DayCounts(ABC, Generic[Kind]):
    """Of one kind of things, each of which is about one domain."""

    def __init__(self, database: Database, collection: str) -> None:
        self._results = database[collection]

    @abstractmethod
    def fields(self, kind: Kind) -> dict[str, object]:
        """What is stored of it, which tells it from others; `domain` is among it."""

    @abstractmethod
    def read(self, row: Mapping[str, object]) -> Kind: ...

    async def add(self, day: date, counts: Mapping[Kind, int]) -> None:
        """One statement for all. Raises: Unavailable: it may be that some are counted."""
        if not counts:
            return
        expires = datetime(day.year, day.month, day.day, tzinfo=UTC) + KEPT
        updates = []
        for kind, count in counts.items():
            fields = {"day": day.isoformat(), **self.fields(kind)}
            key = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
            change = {"$inc": {"count": Int64(count)}, "$setOnInsert": {**fields, "expires": expires}}
            updates.append(UpdateOne({"_id": key}, change, upsert=True))
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

    async def of(self, day: date, domain: str) -> list[Counted[Kind]]:
        """Raises: Unavailable."""
        query = {"day": day.isoformat(), "domain": domain}
        async with operation():
            rows = await self._results.find(query).to_list(MOST_RESULTS)
        return [Counted(self.read(row), int(row["count"])) for row in rows]

    async def remove(self, day: date, domain: str) -> None:
        """It is reported, or nobody wants to know. Raises: Unavailable."""
        async with operation():
            await self._results.delete_many({"day": day.isoformat(), "domain": domain})
