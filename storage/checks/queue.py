"""The outbound queue against the contents it names, and each message against itself."""

from collections.abc import AsyncIterator

from duckmail.model.queue import State
from storage.checks.difference import Counts, Difference, snapshot
from storage.mongo.client import Database, Document

BATCH = 500


async def examine(database: Database, counts: Counts) -> AsyncIterator[Difference]:
    """All messages. Raises: Unavailable."""
    last: object = None
    while True:
        query = {} if last is None else {"_id": {"$gt": last}}
        async with snapshot(database) as session:
            cursor = database["queue"].find(query, session=session).sort("_id", 1).limit(BATCH)
            rows = await cursor.to_list(None)
            named = [row["content"] for row in rows if "content" in row]
            found = database["contents"].find({"_id": {"$in": named}}, {"_id": 1}, session=session)
            there = {row["_id"] async for row in found}
        counts.queued += len(rows)
        for row in rows:
            for difference in _compare(row, there):
                yield difference
        if len(rows) < BATCH:
            return
        last = rows[-1]["_id"]


def _compare(row: Document, contents: set[object]) -> list[Difference]:
    where = f"queued message {row['_id']}"
    found = []
    waiting = [each for each in row["recipients"] if each["state"] == State.WAITING.value]
    ended = "ended" in row
    if not ended and row.get("content") not in contents:
        found.append(Difference(where, "its content does not exist", found=str(row.get("content", ""))))
    if ended and waiting:
        found.append(Difference(where, "is at its end, but recipients wait", "0", str(len(waiting))))
    if not ended and not waiting:
        found.append(Difference(where, "is not at its end, but nobody waits"))
    if not ended and "due" not in row and any("due" in each for each in waiting):
        found.append(Difference(where, "nobody will look at it"))
    return found
