"""Whom an account has had mail from or written to, for a webmail that completes addresses."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from bson.objectid import ObjectId
from pymongo import UpdateOne

from storage.mongo.client import Database, Document, object_id, operation

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("addressregister", [("user", 1), ("addrview", 1)], {"unique": True}),
    ("addressregister", [("user", 1), ("updated", -1)], {}),
)


@dataclass(frozen=True, slots=True)
class Correspondent:
    id: str
    name: str
    address: str


class AddressRegister:
    def __init__(self, database: Database) -> None:
        self._register = database["addressregister"]

    async def find(self, user: str, text: str, limit: int) -> list[Correspondent]:
        """Those whose address has `text` in it or whose name begins with it, without regard to case there; the latest
        first.

        Raises: Unavailable.
        """
        # Protocols §10.1 H11: literals, never a pattern.
        within = {"$gte": [{"$indexOfCP": ["$address", {"$literal": text}]}, 0]}
        begins = {"$eq": [{"$indexOfCP": ["$nameview", {"$literal": text.lower()}]}, 0]}
        query = {"user": object_id(user), "disabled": {"$ne": True}, "$expr": {"$or": [within, begins]}}
        async with operation():
            rows = await self._register.find(query).sort("updated", -1).limit(limit).to_list(None)
        return [Correspondent(str(row["_id"]), row.get("name", ""), row["address"]) for row in rows]

    async def note(self, seen: Mapping[tuple[str, str], tuple[str, str]]) -> None:
        """Adds or renews correspondents: (user, view) -> (address, name). Raises: Unavailable."""
        now = datetime.now(UTC)
        writes = []
        for (user, view), (address, name) in seen.items():
            fields: Document = {"address": address, "updated": now}
            if name:
                fields |= {"name": name, "nameview": name.lower()}
            query = {"user": object_id(user), "addrview": view}
            writes.append(UpdateOne(query, {"$set": fields, "$setOnInsert": {"_id": ObjectId()}}, upsert=True))
        if writes:
            async with operation():
                await self._register.bulk_write(writes, ordered=False)
