"""Pruning tombstones: the floor below which expunges are no longer known rises in the same transaction."""

from datetime import datetime

from bson.int64 import Int64

from storage.changes.base import CHUNK, Change, Key, Outcome, Tx


class Prune(Change):
    """Drops tombstones written before `horizon`, the oldest first, so that the floor is exact."""

    def __init__(self, key: Key, horizon: datetime) -> None:
        super().__init__(key)
        self._key = key
        self._horizon = horizon

    async def apply(self, tx: Tx) -> Outcome:
        tombstones = tx.database["expunged"]
        cursor = tombstones.find(self._key.query, {"modseq": 1, "at": 1}, session=tx.session).sort("modseq", 1)
        oldest = await cursor.limit(CHUNK).to_list(None)
        doomed = []
        for row in oldest:
            if row["at"] >= self._horizon:
                break
            doomed.append(row)
        if not doomed:
            return Outcome(0, commit=False)
        floor = {"$max": {"vanishedfloor": Int64(doomed[-1]["modseq"])}}
        await tx.mailboxes.update_one({"_id": self._key.mailbox, "user": self._key.user}, floor, session=tx.session)
        await tombstones.delete_many({"_id": {"$in": [row["_id"] for row in doomed]}}, session=tx.session)
        return Outcome(len(doomed))
