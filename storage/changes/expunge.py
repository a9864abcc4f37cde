"""Expunging: at most 1,000 messages leave a mailbox for `archived`, and a tombstone says so."""

from collections.abc import Sequence
from datetime import UTC, datetime

from bson.int64 import Int64
from bson.objectid import ObjectId

from duckmail.model.flags import DELETED, to_names
from duckmail.model.ranges import Ranges
from storage.changes.base import Change, Key, Outcome, Tx, after, negative, tally, uid_query
from storage.mongo.client import Document
from storage.views import Delta


class Expunge(Change):
    """Removes those of `uids` (ascending, at most `CHUNK`) that are \\Deleted, or all of them when `any_flags`.

    `archive` False is for taking back what nobody asked to keep (an undone COPY).
    """

    def __init__(self, key: Key, uids: Sequence[int], *, any_flags: bool = False, archive: bool = True) -> None:
        super().__init__(key)
        self._key = key
        self._uids = uids
        self._any_flags = any_flags
        self._archive = archive

    async def apply(self, tx: Tx) -> Outcome:
        document = await tx.increment(self._key, {})
        modseq = int(document["modseq"])
        rows = await tx.rows(self._key, self._uids, modseq)
        uids = [uid for uid, mask, _ in rows if self._any_flags or mask & DELETED]
        if not uids:
            return Outcome([], commit=False)
        query = {**self._key.query, "uid": uid_query(uids)}
        wanted = None if self._archive else {"uid": 1, "flags": 1, "size": 1}
        found = await tx.messages.find(query, wanted, session=tx.session).sort("uid", 1).to_list(None)
        if self._archive:
            await archive(tx, found, document["keywords"])
        await tx.messages.delete_many(query, session=tx.session)
        await bury(tx, self._key, found, modseq)
        amounts = negative(tally((row["flags"] for row in found), (int(row["size"]) for row in found)))
        await tx.count(self._key, amounts)
        return Outcome(uids, (Delta(after(document, amounts), expunged=uids),))


async def archive(tx: Tx, messages: Sequence[Document], keywords: Sequence[str]) -> None:
    """Copies messages to `archived`; flags by name, since bits mean nothing outside their mailbox."""
    moment = datetime.now(UTC)
    rows = [
        {**message, "flags": list(to_names(message["flags"], keywords)), "archived": moment} for message in messages
    ]
    await tx.database["archived"].insert_many(rows, session=tx.session, ordered=False)


async def bury(tx: Tx, key: Key, messages: Sequence[Document], modseq: int) -> None:
    """One tombstone for the transaction: the UIDs as ranges, and the ids for those who know messages by them."""
    tombstone = {
        "_id": ObjectId(),
        **key.query,
        "modseq": Int64(modseq),
        "uids": [
            [Int64(first), Int64(last)]
            for first, last in Ranges.from_sorted(sorted(int(row["uid"]) for row in messages)).pairs
        ],
        "messages": [row["_id"] for row in messages],
        "at": datetime.now(UTC),
    }
    await tx.database["expunged"].insert_one(tombstone, session=tx.session)
