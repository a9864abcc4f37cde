"""Putting a mailbox right after damage from outside: its numbers are made those of its messages and tombstones."""

from collections.abc import Mapping

from bson.int64 import Int64
from pymongo import ReturnDocument, UpdateOne

from duckmail.errors import NotFound
from duckmail.model.flags import DELETED, FIRST_KEYWORD_BIT, SEEN
from storage.changes.base import CHUNK, Change, Key, Outcome, Tx
from storage.mailboxes import to_mailbox
from storage.mongo.client import Document
from storage.views import Delta

_NUMBERS = ("uid", "modseq", "flags", "size")


class Recount(Change):
    """Works on deleted mailboxes too. `sizes`: uid -> octets, what the sizes of these messages really are.

    Messages whose flags are beyond the keyword table lose those bits, at most 1,000 in one transaction: the result
    says whether some may be left.
    """

    def __init__(self, key: Key, sizes: Mapping[int, int]) -> None:
        super().__init__(key)
        self._key = key
        self._sizes = sizes

    async def apply(self, tx: Tx) -> Outcome:
        # Changing the document first makes every other change of the mailbox wait or conflict.
        document = await tx.mailboxes.find_one_and_update(
            {"_id": self._key.mailbox, "user": self._key.user},
            {"$inc": {"modseq": Int64(1)}},
            session=tx.session,
            return_document=ReturnDocument.AFTER,
        )
        if document is None:
            raise NotFound("No such mailbox")
        await self._make_numbers_long(tx)
        await self._set_sizes(tx)
        highest = await self._highest(tx)
        modseq = max(int(document["modseq"]), highest["modseq"] + 1)
        changed = await self._mask_flags(tx, len(document["keywords"]), modseq)
        uidnext = max(int(document["uidnext"]), highest["uid"] + 1)
        numbers = {
            **await self._counters(tx),
            "modseq": modseq,
            "uidnext": uidnext,
            "recentuid": min(int(document["recentuid"]), uidnext),
        }
        stored = {name: Int64(number) for name, number in numbers.items()}
        await tx.mailboxes.update_one({"_id": self._key.mailbox}, {"$set": stored}, session=tx.session)
        delta = Delta(to_mailbox({**document, **stored}), changed=changed)
        return Outcome(len(changed) == CHUNK, (delta,))

    async def _make_numbers_long(self, tx: Tx) -> None:
        query = {**self._key.query, "$or": [{name: {"$not": {"$type": "long"}}} for name in _NUMBERS]}
        whole = {
            name: {"$convert": {"input": f"${name}", "to": "long", "onError": Int64(0), "onNull": Int64(0)}}
            for name in _NUMBERS
        }
        await tx.messages.update_many(query, [{"$set": whole}], session=tx.session)

    async def _set_sizes(self, tx: Tx) -> None:
        updates = [
            UpdateOne({**self._key.query, "uid": Int64(uid)}, {"$set": {"size": Int64(size)}})
            for uid, size in self._sizes.items()
        ]
        if updates:
            await tx.messages.bulk_write(updates, session=tx.session)

    async def _highest(self, tx: Tx) -> dict[str, int]:
        """The highest UID and modseq that were ever given, as far as anything tells."""
        last = {"$max": {"$map": {"input": "$uids", "in": {"$arrayElemAt": ["$$this", 1]}}}}
        highest = {"uid": 0, "modseq": 0}
        for name, uid in (("messages", "$uid"), ("expunged", last)):
            group: Document = {"_id": None, "uid": {"$max": uid}, "modseq": {"$max": "$modseq"}}
            pipeline: list[Document] = [{"$match": self._key.query}, {"$group": group}]
            async for row in await tx.database[name].aggregate(pipeline, session=tx.session):
                highest = {key: max(value, int(row[key] or 0)) for key, value in highest.items()}
        return highest

    async def _mask_flags(self, tx: Tx, keywords: int, modseq: int) -> list[tuple[int, int]]:
        bits = FIRST_KEYWORD_BIT + keywords
        allowed = (1 << bits) - 1
        query = {**self._key.query, "flags": {"$bitsAnySet": list(range(bits, 64))}}
        cursor = tx.messages.find(query, {"uid": 1, "flags": 1}, session=tx.session).sort("uid", 1).limit(CHUNK)
        found = await cursor.to_list(None)
        changed = [(int(row["uid"]), int(row["flags"]) & allowed) for row in found]
        if found:
            update = {"$bit": {"flags": {"and": Int64(allowed)}}, "$set": {"modseq": Int64(modseq)}}
            doomed = {"_id": {"$in": [row["_id"] for row in found]}, **self._key.query}
            await tx.messages.update_many(doomed, update, session=tx.session)
        return changed

    async def _counters(self, tx: Tx) -> dict[str, int]:
        counters = {"messages": 0, "unseen": 0, "deleted": 0, "size": 0}
        group: Document = {"_id": "$flags", "messages": {"$sum": 1}, "size": {"$sum": "$size"}}
        async for row in await tx.messages.aggregate(
            [{"$match": self._key.query}, {"$group": group}], session=tx.session
        ):
            mask, messages = int(row["_id"]), int(row["messages"])
            counters["messages"] += messages
            counters["size"] += int(row["size"])
            counters["unseen"] += messages if not mask & SEEN else 0
            counters["deleted"] += messages if mask & DELETED else 0
        return counters
