"""Messages that were removed, and can be brought back for a while."""

from collections.abc import Sequence
from datetime import datetime

from bson.objectid import ObjectId

from storage.listing import PROJECTION
from storage.messages import LOADED
from storage.mongo.client import Collection, Database, Document, object_id, operation

INDEXES: tuple[tuple[str, list[tuple[str, int]], Document], ...] = (("archived", [("user", 1), ("_id", 1)], {}),)


def is_draft(document: Document) -> bool:
    """Of one with `flags`, which are names here."""
    return "\\draft" in map(str.lower, document["flags"])


class Archived:
    def __init__(self, database: Database) -> None:
        self._archived: Collection = database["archived"]

    async def count(self, user: str) -> int:
        async with operation():
            return await self._archived.count_documents({"user": object_id(user)})

    async def page(self, user: str, limit: int, bound: str, *, rising: bool) -> list[Document]:
        """Up to `limit` by id, beyond `bound` ("" for the start). Raises: Unavailable."""
        query: Document = {"user": object_id(user)}
        if bound:
            query["_id"] = {"$gt" if rising else "$lt": object_id(bound)}
        direction = 1 if rising else -1
        cursor = self._archived.find(query, PROJECTION).sort([("user", direction), ("_id", direction)]).limit(limit)
        async with operation():
            return await cursor.to_list(None)

    async def mailbox_of(self, user: str, message: str) -> str | None:
        """Which mailbox it was in; None when there is no such message. Raises: NotFound (no id), Unavailable."""
        query = {"_id": object_id(message), "user": object_id(user)}
        async with operation():
            document = await self._archived.find_one(query, {"mailbox": 1})
        return None if document is None else str(document["mailbox"])

    async def documents(self, user: str, ids: Sequence[str]) -> list[Document]:
        """Those of `ids` that there are, as `Messages.loaded` needs them. Raises: NotFound (no id), Unavailable."""
        query = {"_id": {"$in": [object_id(identifier) for identifier in ids]}, "user": object_id(user)}
        async with operation():
            return await self._archived.find(query, {**LOADED, "flags": 1}).sort("_id", 1).to_list(None)

    async def between(self, user: str, start: datetime, end: datetime, limit: int) -> list[tuple[ObjectId, str]]:
        """Id and mailbox of up to `limit` that were archived from `start` to `end`. Raises: Unavailable."""
        query = {"user": object_id(user), "archived": {"$gte": start, "$lte": end}}
        async with operation():
            rows = await self._archived.find(query, {"mailbox": 1}).limit(limit).to_list(None)
        return [(row["_id"], str(row["mailbox"])) for row in rows]
