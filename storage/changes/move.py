"""MOVE: the messages stay what they are and change place: new UIDs by rank, in place, at most 1,000 a transaction.

Those that have another content in their new place go, and new ones come, in the same transaction and order.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from bson.int64 import Int64
from pymongo import DeleteMany, InsertOne, UpdateMany

from duckmail.model.events import of
from duckmail.model.flags import to_names, translate
from duckmail.model.message import CopyResult
from storage.changes.base import Change, Key, Outcome, Tx, after, keywords_to_add, negative, tally, uid_query
from storage.changes.copy import read_source
from storage.changes.expunge import bury
from storage.changes.rewriting import Rewritten, with_content
from storage.mongo.client import Document
from storage.views import Delta
from storage.webhooks import Outbox

JUNK = "\\Junk"
_TOLD = {"_id": 0, "uid": 1, "from": 1, "to": 1, "cc": 1, "bcc": 1, "msgid": 1, "subject": 1, "hdate": 1}


def marked(left: Document, entered: Document) -> str:
    """What moving from one mailbox to the other says of messages: an event, "" for nothing."""
    junk = left.get("specialUse") == JUNK, entered.get("specialUse") == JUNK
    return {(False, True): "marked.spam", (True, False): "marked.ham"}.get(junk, "")


def _told(message: Document) -> dict[str, object]:
    people: dict[str, object] = {
        field: [{"name": name, "address": address} for name, address in message[field]]
        for field in ("to", "cc", "bcc")
        if field in message
    }
    sender = [{"name": name, "address": address} for name, address in message.get("from", ())[:1]]
    return {
        "message": int(message["uid"]),
        "from": sender[0] if sender else None,
        **people,
        "messageId": message["msgid"],
        "subject": message["subject"],
        "date": message["hdate"].isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }


class Move(Change):
    """`uids`: ascending, at most `CHUNK`. `source` and `target` may be the same mailbox (RFC 6851 §3.3).

    `rewritten`: those that get other contents; their new sizes are not held against the quota.
    """

    def __init__(self, source: Key, target: Key, uids: Sequence[int], rewritten: Rewritten | None = None) -> None:
        super().__init__(*dict.fromkeys((source, target)))
        self._source = source
        self._target = target
        self._uids = uids
        self._rewritten = rewritten or {}

    async def apply(self, tx: Tx) -> Outcome:
        # Read before the increments: if another change of the source comes between, they conflict and this runs anew.
        table, found = await read_source(tx, self._source, self._uids)
        if not found:
            return Outcome(CopyResult(0), commit=False)
        masks = [int(message["flags"]) for message in found]
        came = [with_content(message, self._rewritten.get(str(message["_id"]))) for message in found]
        amounts = tally(masks, (int(message["size"]) for message in found))
        if self._source == self._target:
            left = entered = await tx.increment(self._target, {"uidnext": len(found)})
        else:
            left = await tx.increment(self._source, negative(amounts))
            amounts = tally(masks, (int(message["size"]) for message in came))
            entered = await tx.increment(self._target, {**amounts, "uidnext": len(found)})
        names = {name for mask in set(masks) for name in to_names(mask, table)}
        keywords = keywords_to_add(sorted(names), entered["keywords"])
        await tx.count(self._target, {}, keywords)
        new_masks = {mask: translate(mask, table, [*entered["keywords"], *keywords]) for mask in set(masks)}
        base = int(entered["uidnext"]) - len(found)
        await bury(tx, self._source, found, int(left["modseq"]))
        await tx.messages.bulk_write(self._writes(found, came, new_masks, base, entered), session=tx.session)
        if (event := marked(left, entered)) and self._source != self._target:
            await self._tell(tx, event, base, len(found))
        expunged = [int(message["uid"]) for message in found]
        added = [(base + rank, new_masks[mask]) for rank, mask in enumerate(masks)]
        return Outcome(
            CopyResult(int(entered["uidvalidity"]), expunged, [uid for uid, _ in added]),
            self._deltas(left, entered, keywords, expunged, added),
        )

    async def _tell(self, tx: Tx, name: str, base: int, count: int) -> None:
        """Of each message in its new place; looks at them only when somebody wants to know."""
        outbox, user = Outbox(tx.database), str(self._target.user)
        if not await outbox.matching(of(name, user).types, user, tx.session):
            return
        uids = {"$gte": Int64(base), "$lt": Int64(base + count)}
        found = tx.messages.find({**self._target.query, "uid": uids}, _TOLD, session=tx.session).sort("uid", 1)
        mailbox = str(self._target.mailbox)
        await outbox.put([of(name, user, mailbox=mailbox, **_told(message)) async for message in found], tx.session)

    def _writes(
        self,
        found: Sequence[Document],
        came: Sequence[Document],
        new_masks: dict[int, int],
        base: int,
        entered: Document,
    ) -> list[UpdateMany | DeleteMany | InsertOne[Document]]:
        """One pipeline update per distinct mask; the new UID is the base plus the rank among all.

        `came`: the messages of `found`; those with other contents are other documents.
        """
        uids = [Int64(message["uid"]) for message in found]
        place = {"mailbox": self._target.mailbox, "modseq": entered["modseq"], "savedate": datetime.now(UTC)}
        stays = [new["_id"] == old["_id"] for old, new in zip(found, came, strict=True)]
        writes: list[UpdateMany | DeleteMany | InsertOne[Document]] = []
        for old, new in new_masks.items():
            mine = [int(each["uid"]) for each, same in zip(found, stays, strict=True) if same and each["flags"] == old]
            if mine:
                changes = {
                    **place,
                    "uid": {"$add": [Int64(base), {"$indexOfArray": [uids, "$uid"]}]},
                    "flags": Int64(new),
                }
                writes.append(UpdateMany({**self._source.query, "uid": uid_query(mine)}, [{"$set": changes}]))
        if gone := [int(each["uid"]) for each, same in zip(found, stays, strict=True) if not same]:
            writes.append(DeleteMany({**self._source.query, "uid": uid_query(gone)}))
        for rank, (message, same) in enumerate(zip(came, stays, strict=True)):
            if not same:
                own = {"uid": Int64(base + rank), "flags": Int64(new_masks[int(message["flags"])])}
                writes.append(InsertOne({**message, **place, **own}))
        return writes

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
