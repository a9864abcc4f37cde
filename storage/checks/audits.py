"""What audits keep against the contents it names."""

from collections.abc import AsyncIterator

from storage.checks.difference import Counts, Difference, snapshot
from storage.mongo.client import Database, Document

BATCH = 1_000


async def examine(database: Database, counts: Counts) -> AsyncIterator[Difference]:
    """All messages of audits. Raises: Unavailable."""
    last: object = None
    while True:
        query: Document = {} if last is None else {"_id": {"$gt": last}}
        async with snapshot(database) as session:
            cursor = database["auditmails"].find(query, {"content": 1, "audit": 1}, session=session).sort("_id", 1)
            rows = await cursor.limit(BATCH).to_list(None)
            named = list({row["content"] for row in rows})
            found = database["contents"].find({"_id": {"$in": named}}, {"_id": 1}, session=session)
            there = {row["_id"] async for row in found}
        counts.audited += len(rows)
        for row in rows:
            if row["content"] not in there:
                where = f"audit {row['audit']} message {row['_id']}"
                yield Difference(where, "its content does not exist", found=str(row["content"]))
        if len(rows) < BATCH:
            return
        last = rows[-1]["_id"]
