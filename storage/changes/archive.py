"""Emptying a deleted mailbox: its messages go to `archived`, at most 1,000 a transaction."""

from bson.int64 import Int64

from storage.changes.base import CHUNK, Change, Key, Outcome, Tx, negative, tally
from storage.changes.expunge import archive


class ArchiveStub(Change):
    """The result says whether messages may be left. Nobody has the mailbox open, so there is no tombstone."""

    def __init__(self, key: Key) -> None:
        super().__init__(key)
        self._key = key

    async def apply(self, tx: Tx) -> Outcome:
        query = {"_id": self._key.mailbox, "user": self._key.user, "gone": {"$exists": True}}
        stub = await tx.mailboxes.find_one_and_update(query, {"$inc": {"modseq": Int64(1)}}, session=tx.session)
        if stub is None:
            return Outcome(False, commit=False)
        found = await tx.messages.find(self._key.query, session=tx.session).limit(CHUNK).to_list(None)
        if not found:
            return Outcome(False, commit=False)
        await archive(tx, found, stub["keywords"])
        emptied = {**self._key.query, "uid": {"$in": [row["uid"] for row in found]}}
        await tx.messages.delete_many(emptied, session=tx.session)
        amounts = negative(tally((row["flags"] for row in found), (int(row["size"]) for row in found)))
        await tx.count(self._key, amounts)
        return Outcome(len(found) == CHUNK)
