"""Bringing archived messages back: they are new in their mailbox, and gone from `archived` in the same commit."""

from collections.abc import Sequence
from datetime import UTC, datetime

from bson.int64 import Int64
from bson.objectid import ObjectId

from duckmail.model.account import Quota
from duckmail.model.flags import to_mask
from storage.changes.base import Change, Key, Outcome, Tx, after, keywords_to_add, tally
from storage.changes.copy import check_quota
from storage.changes.rewriting import Rewritten, with_content
from storage.views import Delta

MOST = 150  # in one transaction: no message document is longer than about 50 KB


class Restore(Change):
    """`ids`: at most `MOST`. `quota`: what the account may hold. `rewritten`: those that get other
    contents. The result is (id, UID) of each, by the ids that were given."""

    def __init__(self, target: Key, ids: Sequence[ObjectId], quota: Quota, rewritten: Rewritten | None = None) -> None:
        super().__init__(target)
        self._target = target
        self._ids = ids
        self._quota = quota
        self._rewritten = rewritten or {}

    async def apply(self, tx: Tx) -> Outcome:
        query = {"_id": {"$in": list(self._ids)}, "user": self._target.user}
        found = await tx.database["archived"].find(query, session=tx.session).sort("_id", 1).to_list(None)
        if not found:
            return Outcome([], commit=False)
        former = [str(row["_id"]) for row in found]
        found = [
            with_content(row, self._rewritten.get(identifier)) for row, identifier in zip(found, former, strict=True)
        ]
        # Archived with \Deleted, by EXPUNGE: it must not go again with the next one.
        names = [[name for name in row["flags"] if name.lower() != "\\deleted"] for row in found]
        amounts = tally((to_mask(each, ()) for each in names), (int(row["size"]) for row in found))
        document = await tx.increment(self._target, {**amounts, "uidnext": len(found)})
        await check_quota(tx, self._target, self._quota)
        keywords = keywords_to_add([name for each in names for name in each], document["keywords"])
        await tx.count(self._target, {}, keywords)
        table = [*document["keywords"], *keywords]
        base = int(document["uidnext"]) - len(found)
        moment = datetime.now(UTC)
        messages = []
        for rank, (row, flags) in enumerate(zip(found, names, strict=True)):
            message = {key: value for key, value in row.items() if key not in ("archived", "expires")}
            message |= {
                "mailbox": self._target.mailbox,
                "uid": Int64(base + rank),
                "modseq": document["modseq"],
                "flags": Int64(to_mask(flags, table)),
                "savedate": moment,
            }
            messages.append(message)
        await tx.messages.insert_many(messages, session=tx.session, ordered=False)
        await tx.database["archived"].delete_many(query, session=tx.session)
        added = [(int(message["uid"]), int(message["flags"])) for message in messages]
        pairs = [(identifier, int(message["uid"])) for identifier, message in zip(former, messages, strict=True)]
        return Outcome(pairs, (Delta(after(document, {}, keywords), added=added),))
