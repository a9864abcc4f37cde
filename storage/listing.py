"""Messages for listings: pages of a mailbox by date, read along an index without a sort."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId

from duckmail.mime.header import Lookup
from duckmail.model.flags import DRAFT, SEEN, to_names
from duckmail.model.listing import ListedAttachment, ListedMessage, MailboxQuery
from duckmail.model.ranges import Ranges
from storage.changes.base import CHUNK, uid_query
from storage.contents.contents import Contents
from storage.mongo.client import Collection, Database, Document, object_id, operation

Bound = list[tuple[str, Any]]
Index = list[tuple[str, int]]
Keys = tuple[Sequence[Any], Sequence[Any]]

DATE_INDEX = [("user", 1), ("mailbox", 1), ("idate", 1), ("uid", 1)]
ACCOUNT_INDEX = [("user", 1), ("idate", 1), ("_id", 1), ("mailbox", 1)]
ID_INDEX = [("user", 1), ("_id", 1), ("mailbox", 1)]
THREAD_INDEX = [("user", 1), ("thread", 1)]
INDEXES: tuple[tuple[str, list[tuple[str, int]], Document], ...] = (
    ("messages", DATE_INDEX, {}),
    ("messages", ACCOUNT_INDEX, {}),
    ("messages", ID_INDEX, {}),
    ("messages", THREAD_INDEX, {}),
    ("messages", [("expires", 1)], {"sparse": True}),
)

PROJECTION: Document = {"envelope": 0, "savedate": 0}
_ADDRESSES = ("from", "replyto", "to", "cc", "bcc")


class Listing:
    def __init__(self, database: Database, contents: Contents) -> None:
        self._messages: Collection = database["messages"]
        self._contents = contents

    async def page(self, user: str, mailbox: str, query: MailboxQuery) -> tuple[list[Document], bool]:
        """The documents of a page in its order, and whether there are more in the direction it was read.

        Raises: Unavailable.
        """
        place: Bound = [("user", object_id(user)), ("mailbox", object_id(mailbox))]
        spot = query.after or query.before
        keys = None if spot is None else ([spot.moment, Int64(spot.uid)], [spot.moment, Int64(spot.uid + 1)])
        return await self._along(DATE_INDEX, place, keys, query, {})

    async def account_page(
        self, user: str, mailboxes: Sequence[str], query: MailboxQuery, spot: tuple[datetime, str] | None
    ) -> tuple[list[Document], bool]:
        """As `page`, of several mailboxes, by internal date and id. `spot`: instead of the UID of the query's place.

        Raises: Unavailable.
        """
        keys = None
        if spot is not None:
            moment, message = spot[0], object_id(spot[1])
            keys = ([moment, message, MinKey()], [moment, message, MaxKey()])
        within: Document = {"mailbox": {"$in": [object_id(mailbox) for mailbox in mailboxes]}}
        return await self._along(ACCOUNT_INDEX, [("user", object_id(user))], keys, query, within)

    async def id_page(
        self, user: str, mailboxes: Sequence[str], query: MailboxQuery, spot: str
    ) -> tuple[list[Document], bool]:
        """As `account_page`, by id. `spot`: the id where the query's place is, "" for none.

        Raises: Unavailable.
        """
        keys = None
        if spot:
            message = object_id(spot)
            keys = ([message, MinKey()], [message, MaxKey()])
        within: Document = {"mailbox": {"$in": [object_id(mailbox) for mailbox in mailboxes]}}
        return await self._along(ID_INDEX, [("user", object_id(user))], keys, query, within)

    async def _along(
        self, index: Index, place: Bound, keys: Keys | None, query: MailboxQuery, within: Document
    ) -> tuple[list[Document], bool]:
        """Along `index`, whose first fields are `place`. `keys`: of its other fields, from which on a message stands
        at the cursor or behind it, and from which on behind it."""
        back = query.after is None and query.before is not None
        # Away from the cursor: back to front, when what is wanted stands before it.
        rising = query.ascending is not back
        fields = [name for name, _ in index[len(place) :]]
        low: Sequence[Any] = [MinKey() for _ in fields]
        high: Sequence[Any] = [MaxKey() for _ in fields]
        if keys is not None:
            low, high = (keys[1], high) if rising else (low, keys[0])
        wanted: Document = {**dict(place), **within}
        if query.unseen is not None:
            wanted["flags"] = {"$bitsAllClear" if query.unseen else "$bitsAllSet": SEEN}
        direction = 1 if rising else -1
        cursor = (
            self._messages.find(wanted, PROJECTION)
            .hint(index)
            .min([*place, *zip(fields, low, strict=True)])
            .max([*place, *zip(fields, high, strict=True)])
            .sort([(name, direction) for name, _ in index])
            .limit(query.limit + 1)
            .batch_size(query.limit + 2)  # all in the first answer
        )
        async with operation():
            documents = await cursor.to_list(None)
        more = len(documents) > query.limit
        del documents[query.limit :]
        return documents[::-1] if back else documents, more

    async def one(self, user: str, mailbox: str, uid: int) -> Document | None:
        """Raises: Unavailable."""
        query = {"user": object_id(user), "mailbox": object_id(mailbox), "uid": Int64(uid)}
        async with operation():
            return await self._messages.find_one(query, PROJECTION)

    async def uids(self, user: str, mailbox: str, uids: Ranges) -> list[int]:
        """Those of `uids` that exist, ascending. Raises: Unavailable."""
        base = {"user": object_id(user), "mailbox": object_id(mailbox)}
        found: list[int] = []
        for first, last in uids.pairs:
            query = {**base, "uid": {"$gte": Int64(first), "$lte": Int64(last)}}
            async with operation():
                rows = await self._messages.find(query, {"_id": 0, "uid": 1}).sort("uid", 1).to_list(None)
            found += [int(row["uid"]) for row in rows]
        return found

    async def drafts(self, user: str, mailbox: str, uids: Sequence[int]) -> list[int]:
        """Those of `uids` (ascending) that are \\Draft. Raises: Unavailable."""
        base = {"user": object_id(user), "mailbox": object_id(mailbox), "flags": {"$bitsAllSet": DRAFT}}
        found: list[int] = []
        for start in range(0, len(uids), CHUNK):
            query = {**base, "uid": uid_query(uids[start : start + CHUNK])}
            async with operation():
                rows = await self._messages.find(query, {"_id": 0, "uid": 1}).to_list(None)
            found += [int(row["uid"]) for row in rows]
        return found

    async def set_fields(self, user: str, mailbox: str, uids: Sequence[int], fields: Mapping[str, object]) -> None:
        """Of what no mail client sees, so that it needs no modseq. None takes a field away. Raises: Unavailable."""
        query = {"user": object_id(user), "mailbox": object_id(mailbox), "uid": uid_query(uids)}
        update: Document = {
            "$set": {name: value for name, value in fields.items() if value is not None},
            "$unset": {name: 1 for name, value in fields.items() if value is None},
        }
        async with operation():
            await self._messages.update_many(query, {name: each for name, each in update.items() if each})

    async def spots(self, user: str, mailbox: str, uids: Sequence[int]) -> AsyncIterator[list[tuple[datetime, str]]]:
        """Internal date and id of those of `uids` (ascending) that exist, in batches. Raises: Unavailable."""
        base = {"user": object_id(user), "mailbox": object_id(mailbox)}
        for start in range(0, len(uids), CHUNK):
            query = {**base, "uid": uid_query(uids[start : start + CHUNK])}
            async with operation():
                rows = await self._messages.find(query, {"idate": 1}).to_list(None)
            yield [(row["idate"], str(row["_id"])) for row in rows]

    async def by_ids(self, user: str, ids: Sequence[str]) -> list[Document]:
        """Those that exist, in the order of `ids`. Raises: Unavailable."""
        query = {"_id": {"$in": [object_id(identifier) for identifier in ids]}, "user": object_id(user)}
        async with operation():
            rows = await self._messages.find(query, PROJECTION).to_list(None)
        known = {str(row["_id"]): row for row in rows}
        return [known[identifier] for identifier in ids if identifier in known]

    async def thread_uids(self, user: str, thread: str) -> dict[str, list[int]]:
        """The UIDs of a thread's messages by mailbox. Raises: NotFound (no id), Unavailable."""
        wanted = object_id(thread)
        either = [{"thread": wanted}, {"_id": wanted, "thread": {"$exists": False}}]
        async with operation():
            query = {"user": object_id(user), "$or": either}
            rows = await self._messages.find(query, {"_id": 0, "mailbox": 1, "uid": 1}).to_list(None)
        found: dict[str, list[int]] = {}
        for row in rows:
            found.setdefault(str(row["mailbox"]), []).append(int(row["uid"]))
        return found

    async def thread_sizes(self, user: str, threads: Sequence[str]) -> dict[str, int]:
        """How many messages of the account each has. Raises: Unavailable."""
        wanted = [object_id(thread) for thread in set(threads)]
        pipeline: list[Document] = [
            {"$match": {"user": object_id(user), "thread": {"$in": wanted}}},
            {"$group": {"_id": "$thread", "count": {"$sum": 1}}},
        ]
        async with operation():
            rows = await (await self._messages.aggregate(pipeline, hint=dict(THREAD_INDEX))).to_list(None)
        return {str(row["_id"]): int(row["count"]) for row in rows}

    async def listed(
        self, documents: Sequence[Document], keywords: Mapping[str, Sequence[str]], *, headers: bool = False
    ) -> list[ListedMessage]:
        """`keywords`: the tables of their mailboxes, by mailbox id. `headers`: with header blocks, in one query more.

        Raises: Unavailable.
        """
        blocks: dict[ObjectId, bytes] = {}
        spilled = [document["content"] for document in documents if "bodystructure" not in document]
        if wanted := [document["content"] for document in documents] if headers else spilled:
            blocks = await self._headers(wanted)
        return [
            to_listed(document, keywords.get(str(document["mailbox"]), ()), blocks.get(document["content"], b""))
            for document in documents
        ]

    async def _headers(self, contents: Sequence[ObjectId]) -> dict[ObjectId, bytes]:
        loaded = await self._contents.load([str(content) for content in contents], header_only=True)
        return {ObjectId(each.id): await each.header_block() for each in loaded.values()}


def to_listed(document: Document, keywords: Sequence[str], block: bytes) -> ListedMessage:
    """`block`: the content's header; needed when the structure is too long to be in the document."""
    structure = document.get("bodystructure", b"")
    header = document.get("prefix", b"") + block
    return ListedMessage(
        id=str(document["_id"]),
        mailbox=str(document["mailbox"]),
        uid=int(document["uid"]),
        thread=thread_of(document),
        flags=_names(document, keywords),
        idate=document["idate"],
        date=document["hdate"],
        size=int(document["size"]),
        subject=document["subject"],
        message_id=document["msgid"],
        intro=document["intro"],
        addresses={name: document[name] for name in _ADDRESSES if name in document},
        attachments=[ListedAttachment(**row) for row in document["attachments"]],
        references=document.get("refs", ()),
        structure=structure,
        content_type=b"" if structure else Lookup(block).first(b"content-type") or b"",
        header=header,
        meta_data=document.get("meta", "{}"),
        expires=document.get("expires"),
    )


def _names(document: Document, keywords: Sequence[str]) -> tuple[str, ...]:
    # In `archived` flags are names already: bits mean something only with their mailbox.
    flags = document["flags"]
    return tuple(flags) if isinstance(flags, list) else to_names(int(flags), keywords)


def thread_of(document: Document) -> str:
    """A message without a thread of its own stands alone in one."""
    return str(document.get("thread") or document["emailid"])
