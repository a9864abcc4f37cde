"""MOVE: the messages stay what they are and change place: new UIDs by rank, in place, at most 1,000 a transaction."""

from collections.abc import Sequence
from datetime import UTC, datetime

from bson.int64 import Int64
from pymongo import UpdateMany

from duckmail.model.flags import to_names, translate
from duckmail.model.message import CopyResult
from storage.changes.base import Change, Key, Outcome, Tx, after, keywords_to_add, negative, tally, uid_query
from storage.changes.copy import read_source
from storage.changes.expunge import bury
from storage.mongo.client import Document
from storage.views import Delta


class Move(Change):
    """`uids`: ascending, at most `CHUNK`. `source` and `target` may be the same mailbox (RFC 6851 §3.3)."""

    def __init__(self, source: Key, target: Key, uids: Sequence[int]) -> None:
        super().__init__(*dict.fromkeys((source, target)))
        self._source = source
        self._target = target
        self._uids = uids

    async def apply(self, tx: Tx) -> Outcome:
        # Read before the increments: if another change of the source comes between, they conflict and this runs anew.
        table, found = await read_source(tx, self._source, self._uids)
        if not found:
            return Outcome(CopyResult(0), commit=False)
        masks = [int(message["flags"]) for message in found]
        amounts = tally(masks, (int(message["size"]) for message in found))
        if self._source == self._target:
            left = entered = await tx.increment(self._target, {"uidnext": len(found)})
        else:
            left = await tx.increment(self._source, negative(amounts))
            entered = await tx.increment(self._target, {**amounts, "uidnext": len(found)})
        names = {name for mask in set(masks) for name in to_names(mask, table)}
        keywords = keywords_to_add(sorted(names), entered["keywords"])
        await tx.count(self._target, {}, keywords)
        new_masks = {mask: translate(mask, table, [*entered["keywords"], *keywords]) for mask in set(masks)}
        base = int(entered["uidnext"]) - len(found)
        await bury(tx, self._source, found, int(left["modseq"]))
        await tx.messages.bulk_write(self._updates(found, new_masks, base, entered), session=tx.session)
        expunged = [int(message["uid"]) for message in found]
        added = [(base + rank, new_masks[mask]) for rank, mask in enumerate(masks)]
        return Outcome(
            CopyResult(int(entered["uidvalidity"]), expunged, [uid for uid, _ in added]),
            self._deltas(left, entered, keywords, expunged, added),
        )

    def _updates(
        self, found: Sequence[Document], new_masks: dict[int, int], base: int, entered: Document
    ) -> list[UpdateMany]:
        """One pipeline update per distinct mask; the new UID is the base plus the rank among all."""
        uids = [Int64(message["uid"]) for message in found]
        updates = []
        for old, new in new_masks.items():
            mine = [int(message["uid"]) for message in found if int(message["flags"]) == old]
            place = {
                "uid": {"$add": [Int64(base), {"$indexOfArray": [uids, "$uid"]}]},
                "mailbox": self._target.mailbox,
                "modseq": entered["modseq"],
                "flags": Int64(new),
                "savedate": datetime.now(UTC),
            }
            updates.append(UpdateMany({**self._source.query, "uid": uid_query(mine)}, [{"$set": place}]))
        return updates

    def _deltas(
        self,
        left: Document,
        entered: Document,
        keywords: Sequence[str],
        expunged: Sequence[int],
        added: Sequence[tuple[int, int]],
    ) -> tuple[Delta, ...]:
        target = after(entered, {}, keywords)
        if self._source == self._target:
            return (Delta(target, added=added, expunged=expunged),)
        return (Delta(after(left, {}), expunged=expunged), Delta(target, added=added))
