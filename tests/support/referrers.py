"""Which collections name a content: for the test that none is unknown to the sweep."""

from typing import Any

from bson.objectid import ObjectId

from storage.mongo.client import Database


async def referring_collections(database: Database) -> set[str]:
    """The collections in which some stored document has, at any depth, a field `content` that holds an id."""
    found = set()
    for name in await database.list_collection_names():
        async for document in database[name].find({}):
            if _names_content(document):
                found.add(name)
    return found


def _names_content(value: Any) -> bool:
    if isinstance(value, dict):
        return isinstance(value.get("content"), ObjectId) or any(map(_names_content, value.values()))
    return isinstance(value, list) and any(map(_names_content, value))
