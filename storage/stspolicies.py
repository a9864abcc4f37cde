"""Policies of MTA-STS that were learned: they hold until their time is over, whatever happens (RFC 8461 §3.2)."""

from dataclasses import dataclass
from datetime import UTC, datetime

from storage.mongo.client import Database, Document, operation

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("stspolicies", [("expires", 1)], {"expireAfterSeconds": 0}),
    ("stspolicies", [("refresh", 1)], {}),
)


@dataclass(frozen=True, slots=True)
class StsRecord:
    """`id`: of the record that announced it. `body`: the policy as it was fetched. `refresh`: when to fetch it anew."""

    domain: str
    id: str
    body: bytes
    expires: datetime
    refresh: datetime


class StsRecords:
    def __init__(self, database: Database) -> None:
        self._policies = database["stspolicies"]

    async def get(self, domain: str) -> StsRecord | None:
        """One that holds still. Raises: Unavailable."""
        async with operation():
            found = await self._policies.find_one({"_id": domain, "expires": {"$gt": datetime.now(UTC)}})
        return _record(found) if found else None

    async def put(self, record: StsRecord) -> None:
        """In place of an earlier one. Raises: Unavailable."""
        fields = {"id": record.id, "body": record.body, "expires": record.expires, "refresh": record.refresh}
        async with operation():
            await self._policies.update_one({"_id": record.domain}, {"$set": fields}, upsert=True)

    async def stale(self, most: int) -> list[StsRecord]:
        """Those to fetch anew, the longest due first. Raises: Unavailable."""
        async with operation():
            found = await self._policies.find({"refresh": {"$lte": datetime.now(UTC)}}).sort("refresh", 1).to_list(most)
        return [_record(each) for each in found]


def _record(document: Document) -> StsRecord:
    return StsRecord(document["_id"], document["id"], bytes(document["body"]), document["expires"], document["refresh"])
