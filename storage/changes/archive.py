"""Emptying a deleted mailbox: its messages go to `archived`, at most 1,000 a transaction."""

from bson.int64 import Int64

from storage.changes.base import CHUNK, MEASURED, Change, Key, Outcome, Tx, chunks, negative, tally, uid_query
from storage.changes.expunge import archive


class ArchiveStub(Change):
    """The result says whether messages may be left. Nobody has the mailbox open, so there is no tombstone."""

    def __init__(self, key: Key) -> None:
        super().__init__(key)
        self._key = key

    async def apply(self, tx: Tx) -> Outcome:
        query = {
            "_id": self._key.mailbox,
            "user": self._key.user,
            "gone": {"$exists": True},
            "held": {"$exists": False},
        }
        stub = await tx.mailboxes.find_one_and_update(query, {"$inc": {"modseq": Int64(1)}}, session=tx.session)
        if stub is None:
            return Outcome(False, commit=False)
        cursor = tx.messages.find(self._key.query, MEASURED, session=tx.session).sort("uid", 1)
        measured = await cursor.limit(CHUNK).to_list(None)
        if not measured:
            return Outcome(False, commit=False)
        uids = chunks(measured)[0]
        emptied = {**self._key.query, "uid": uid_query(uids)}
        found = await tx.messages.find(emptied, session=tx.session).to_list(None)
        await archive(tx, found, stub["keywords"])
        await tx.messages.delete_many(emptied, session=tx.session)
        amounts = negative(tally((row["flags"] for row in found), (int(row["size"]) for row in found)))
        await tx.count(self._key, amounts)
        return Outcome(len(measured) == CHUNK or len(uids) < len(measured))
