"""Mailboxes that keep mail for a time: what has been in one for longer goes to `archived`.

UIDs ascend with the time at which a message came into its mailbox, so what is too old stands at the beginning, and one
look at the first message tells whether there is any: for a hundred mailboxes in one statement.
"""

import logging
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

from duckmail.errors import DuckmailError
from storage.changes.base import CHUNK, Key, chunks
from storage.changes.expunge import Expunge
from storage.committer import Committer
from storage.mongo.client import Database, Document, operation

log = logging.getLogger("duckmail.storage")

SEEKS = 100  # mailboxes in one statement: each is a seek in an index

_INDEX = [("user", 1), ("_id", 1)]
INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("mailboxes", _INDEX, {"partialFilterExpression": {"retention": {"$gt": 0}}}),
)

_FIRST = {"_id": 0, "uid": 1, "savedate": 1, "octets": {"$bsonSize": "$$ROOT"}}


class Retention:
    def __init__(self, database: Database, committer: Committer) -> None:
        self._database = database
        self._committer = committer

    async def run(self, now: datetime | None = None) -> int:
        """All mailboxes once; how many messages went. What fails is logged, and left for the next time.

        Raises: Unavailable.
        """
        moment = now or datetime.now(UTC)
        retired = 0
        async for mailboxes in self._walk():
            horizons = {
                Key(row["user"], row["_id"]): moment - timedelta(milliseconds=int(row["retention"]))
                for row in mailboxes
            }
            for key in await self._overdue(horizons):
                try:
                    retired += await self._retire(key, horizons[key])
                except DuckmailError as error:
                    log.warning("retiring messages failed", extra={"fields": error.fields})
        return retired

    async def _walk(self) -> AsyncIterator[Sequence[Document]]:
        """Living mailboxes with mail and a retention, by account, in batches."""
        after: Document | None = None
        query = {"retention": {"$gt": 0}, "messages": {"$gt": 0}, "path": {"$exists": True}}
        while True:
            page: Document = dict(query)
            if after is not None:
                behind = {"user": after["user"], "_id": {"$gt": after["_id"]}}
                page["$or"] = [behind, {"user": {"$gt": after["user"]}}]
            async with operation():
                cursor = self._database["mailboxes"].find(page, {"user": 1, "retention": 1}).hint(_INDEX)
                rows = await cursor.sort(_INDEX).limit(SEEKS).to_list(None)
            if rows:
                yield rows
            if len(rows) < SEEKS:
                return
            after = rows[-1]

    async def _overdue(self, horizons: dict[Key, datetime]) -> list[Key]:
        """Those whose first message came before their horizon."""
        first, *others = [_seek(key, horizon) for key, horizon in horizons.items()]
        unions = [{"$unionWith": {"coll": "messages", "pipeline": seek}} for seek in others]
        async with operation():
            rows = await (await self._database["messages"].aggregate([*first, *unions])).to_list(None)
        return [Key(row["user"], row["mailbox"]) for row in rows]

    async def _retire(self, key: Key, horizon: datetime) -> int:
        retired = 0
        while True:
            async with operation():
                cursor = self._database["messages"].find(key.query, _FIRST).sort("uid", 1)
                rows = await cursor.limit(CHUNK).to_list(None)
            old = []
            for row in rows:
                if row["savedate"] >= horizon:
                    break
                old.append(row)
            for uids in chunks(old):
                retired += len(await self._committer.submit(Expunge(key, uids, any_flags=True)))
            if len(old) < CHUNK:
                return retired


def _seek(key: Key, horizon: datetime) -> list[Document]:
    return [
        {"$match": key.query},
        {"$sort": {"uid": 1}},
        {"$limit": 1},
        {"$match": {"savedate": {"$lt": horizon}}},
        {"$project": {"_id": 0, "user": 1, "mailbox": 1}},
    ]
