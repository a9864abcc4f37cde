"""STORE: changing flags of at most 1,000 messages. Only messages that really change get the new modseq."""

from collections.abc import Sequence

from bson.int64 import Int64

from duckmail.model.flags import DELETED, SEEN, to_mask
from duckmail.model.message import FlagChange, FlagOperation, StoreResult
from duckmail.model.sharing import ALL_FLAGS
from storage.changes.base import Change, Key, Outcome, Tx, after, keywords_to_add, uid_query
from storage.mongo.client import Document
from storage.views import Delta


class StoreFlags(Change):
    def __init__(self, key: Key, uids: Sequence[int], change: FlagChange) -> None:
        """`uids`: ascending, at most `CHUNK`."""
        super().__init__(key)
        self._key = key
        self._uids = uids
        self._change = change

    async def apply(self, tx: Tx) -> Outcome:
        document = await tx.increment(self._key, {})
        modseq = int(document["modseq"])
        rows = await tx.rows(self._key, self._uids, modseq)
        present = {uid for uid, _, _ in rows}
        missing = [uid for uid in self._uids if uid not in present]
        limit = self._change.unchanged_since
        # RFC 7162 §3.1.3: decided on the very rows that are then changed; 0 fails every message.
        failed = [uid for uid, _, at in rows if limit is not None and at > limit]
        allowed = [row for row in rows if limit is None or row[2] <= limit]
        adding = [] if self._change.operation is FlagOperation.REMOVE or not allowed else self._change.flags
        keywords = keywords_to_add(adding, document["keywords"])
        mask = to_mask(self._change.flags, [*document["keywords"], *keywords]) & self._change.within
        changed = [(uid, old, new) for uid, old, _ in allowed if (new := self._new(old, mask)) != old]
        if not changed:
            return Outcome(StoreResult([], failed, missing, modseq - 1), commit=False)
        query = {**self._key.query, "uid": uid_query([uid for uid, _, _ in changed])}
        await tx.messages.update_many(query, self._update(mask, modseq), session=tx.session)
        amounts = {
            "unseen": sum((not new & SEEN) - (not old & SEEN) for _, old, new in changed),
            "deleted": sum(bool(new & DELETED) - bool(old & DELETED) for _, old, new in changed),
        }
        await tx.count(self._key, amounts, keywords)
        delta = Delta(after(document, amounts, keywords), changed=[(uid, new) for uid, _, new in changed])
        return Outcome(StoreResult([uid for uid, _, _ in changed], failed, missing, modseq), (delta,))

    def _new(self, old: int, mask: int) -> int:
        match self._change.operation:
            case FlagOperation.ADD:
                return old | mask
            case FlagOperation.REMOVE:
                return old & ~mask
            case _:
                return old & ~self._change.within | mask

    def _update(self, mask: int, modseq: int) -> Document:
        stamp = {"modseq": Int64(modseq)}
        match self._change.operation:
            case FlagOperation.ADD:
                return {"$bit": {"flags": {"or": Int64(mask)}}, "$set": stamp}
            case FlagOperation.REMOVE:
                return {"$bit": {"flags": {"and": Int64(ALL_FLAGS & ~mask)}}, "$set": stamp}
            case _ if self._change.within == ALL_FLAGS:
                return {"$set": {"flags": Int64(mask), **stamp}}
            case _:
                kept = Int64(ALL_FLAGS & ~self._change.within)
                return {"$bit": {"flags": {"and": kept, "or": Int64(mask)}}, "$set": stamp}
