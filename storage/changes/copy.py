"""COPY: new message documents on the same contents, all in one transaction."""

from collections.abc import Sequence
from datetime import UTC, datetime

from bson.int64 import Int64
from bson.objectid import ObjectId

from duckmail.errors import NoSuchMailbox, OverQuota, Unavailable
from duckmail.model.account import Quota
from duckmail.model.flags import to_names, translate
from duckmail.model.message import CopyResult
from duckmail.model.sharing import ALL_FLAGS
from storage.changes.base import Change, Held, Key, Outcome, Tx, after, keywords_to_add, tally, uid_query
from storage.changes.given import audit, given
from storage.changes.rewriting import Rewritten, with_content
from storage.mongo.client import Document
from storage.views import Delta

ATOMIC = 2_000  # messages copied in one transaction; beyond it chunks under an undo record


class Copy(Change):
    """`uids`: ascending, at most `ATOMIC`. `undo`: the record that notes what this chunk copied, if it is one.

    `rewritten`: the copies that have other contents. `permitted`: the bits of the flags that may be set in the target.
    """

    def __init__(
        self,
        source: Key,
        target: Key,
        uids: Sequence[int],
        quota: Quota,
        undo: ObjectId | None = None,
        *,
        rewritten: Rewritten | None = None,
        permitted: int = ALL_FLAGS,
    ) -> None:
        super().__init__(*dict.fromkeys((source, target)))
        self._permitted = permitted
        self._source = source
        self._target = target
        self._uids = uids
        self._quota = quota
        self._undo = undo
        self._rewritten = rewritten or {}

    async def apply(self, tx: Tx) -> Outcome:
        table, found = await read_source(tx, self._source, self._uids)
        if not found:
            return Outcome(CopyResult(0), commit=False)
        found = [
            with_content({**message, "_id": ObjectId()}, self._rewritten.get(str(message["_id"]))) for message in found
        ]
        masks = [int(message["flags"]) & self._permitted for message in found]
        amounts = tally(masks, (int(message["size"]) for message in found))
        uids = [int(message["uid"]) for message in found]
        document = await tx.increment(self._target, {**amounts, "uidnext": len(found)})
        await check_quota(tx, self._target, self._quota)
        names = {name for mask in set(masks) for name in to_names(mask, table)}
        keywords = keywords_to_add(sorted(names), document["keywords"])
        await tx.count(self._target, {}, keywords)
        target_table = [*document["keywords"], *keywords]
        base = int(document["uidnext"]) - len(found)
        moment = datetime.now(UTC)
        foreign = self._source.user != self._target.user
        if foreign:
            found = await given(tx, self._target.user, found)
        copies = [
            {
                **message,
                "mailbox": self._target.mailbox,
                "uid": Int64(base + rank),
                "modseq": document["modseq"],
                "flags": Int64(translate(mask, table, target_table)),
                "savedate": moment,
            }
            for rank, (message, mask) in enumerate(zip(found, masks, strict=True))
        ]
        await tx.messages.insert_many(copies, session=tx.session, ordered=False)
        if foreign:
            await audit(tx, document, copies, moment)
        if self._undo is not None:
            pair = [Int64(base), Int64(base + len(found) - 1)]
            note = {"$push": {"uids": pair}}
            noted = await tx.database["undos"].update_one(undo_query(self._undo), note, session=tx.session)
            if not noted.matched_count:
                raise Unavailable(error="the copy is being taken back")
        added = [(int(copy["uid"]), int(copy["flags"])) for copy in copies]
        result = CopyResult(int(document["uidvalidity"]), uids, [uid for uid, _ in added])
        return Outcome(result, (Delta(after(document, {}, keywords), added=added),))


def undo_query(undo: ObjectId) -> Document:
    """The record of a copy that goes on: who takes it back has not begun."""
    return {"_id": undo, "taken": {"$exists": False}}


async def read_source(tx: Tx, source: Key, uids: Sequence[int]) -> tuple[list[str], list[Document]]:
    """The source's keyword table, and its messages among `uids`, ascending. Raises: NotFound."""
    mailbox = await tx.mailboxes.find_one(
        {"_id": source.mailbox, "user": source.user, "path": {"$exists": True}}, {"keywords": 1}, session=tx.session
    )
    if mailbox is None:
        raise NoSuchMailbox
    query = {**source.query, "uid": uid_query(uids)}
    found = await tx.messages.find(query, session=tx.session).sort("uid", 1).to_list(None)
    return mailbox["keywords"], found


async def check_quota(tx: Tx, key: Key, quota: Quota) -> None:
    """Raises: OverQuota when the account's mailboxes, with what this transaction added, hold more than they may."""
    if not quota:
        return
    rows = await tx.mailboxes.find({"user": key.user}, {"size": 1, "messages": 1}, session=tx.session).to_list(None)
    held = Held(sum(int(row["size"]) for row in rows), sum(int(row["messages"]) for row in rows))
    if not held.within(quota):
        raise OverQuota
    if held.nearly(quota):
        await tx.alone([key.user])
