"""What administrators have set: a document for each key, `_id` the key."""

from bson.int64 import Int64

from duckmail.model.settings import Value
from storage.mongo.client import Database, operation

MOST = 1000  # there are some twenty


class SettingRecords:
    def __init__(self, database: Database) -> None:
        self._settings = database["settings"]

    async def all(self) -> dict[str, Value]:
        """Raises: Unavailable."""
        async with operation(5):
            rows = await self._settings.find({}).to_list(MOST)
        return {str(row["_id"]): _plain(row.get("value")) for row in rows}

    async def put(self, key: str, value: Value) -> None:
        """Raises: Unavailable."""
        kept = Int64(value) if isinstance(value, int) and not isinstance(value, bool) else value
        async with operation():
            await self._settings.update_one({"_id": key}, {"$set": {"value": kept}}, upsert=True)


def _plain(value: object) -> Value:
    if isinstance(value, bool | str):
        return value
    return int(value) if isinstance(value, int | float) else ""
