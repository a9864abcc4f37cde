"""Emptying a mailbox of an account whose time is over: its messages go for good, at most 1,000 a transaction."""

from bson.int64 import Int64
from bson.objectid import ObjectId

from storage.changes.base import CHUNK, Change, Key, Outcome, Tx, negative, tally


class Purge(Change):
    """`removal`: the removal that holds the stub. The result is how many messages went, 0 when none was left."""

    def __init__(self, key: Key, removal: ObjectId) -> None:
        super().__init__(key)
        self._key = key
        self._removal = removal

    async def apply(self, tx: Tx) -> Outcome:
        held = {"_id": self._key.mailbox, "user": self._key.user, "held": self._removal}
        # Changing the stub first makes whoever else still has a hand in it wait or conflict.
        stub = await tx.mailboxes.find_one_and_update(held, {"$inc": {"modseq": Int64(1)}}, session=tx.session)
        if stub is None:
            return Outcome(0, commit=False)
        cursor = tx.messages.find(self._key.query, {"flags": 1, "size": 1}, session=tx.session).sort("uid", 1)
        found = await cursor.limit(CHUNK).to_list(None)
        if not found:
            return Outcome(0, commit=False)
        ids = [row["_id"] for row in found]
        await tx.messages.delete_many({"_id": {"$in": ids}, **self._key.query}, session=tx.session)
        await tx.count(self._key, negative(tally((row["flags"] for row in found), (int(row["size"]) for row in found))))
        return Outcome(len(found))
