"""One account: its mailboxes against their messages, tombstones and contents, streamed in one snapshot."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from bson.int64 import Int64
from bson.objectid import ObjectId
from pymongo.asynchronous.client_session import AsyncClientSession

from duckmail.model.flags import DELETED, FIRST_KEYWORD_BIT, MAX_KEYWORDS, SEEN
from duckmail.model.mailbox import INBOX
from storage.checks.difference import Difference, snapshot
from storage.mongo.client import Database, Document

BATCH = 1_000
NUMBERS = ("uid", "modseq", "flags", "size")
COUNTERS = ("messages", "unseen", "deleted", "size")

_MESSAGE = {
    **dict.fromkeys(("mailbox", "content", *NUMBERS), 1),
    "prefix": {"$binarySize": {"$ifNull": ["$prefix", b""]}},
}


@dataclass(slots=True)
class Repair:
    """What `storage.changes.recount` is to put right in one mailbox. `sizes`: uid -> octets, where a size is wrong."""

    sizes: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Account:
    """What was found. `repairs`: by mailbox; every difference with a mailbox in there is put right by its repair."""

    user: ObjectId
    differences: list[tuple[Difference, ObjectId | None]] = field(default_factory=list)
    repairs: dict[ObjectId, Repair] = field(default_factory=dict)
    mailboxes: int = 0
    messages: int = 0
    archived: int = 0


@dataclass(slots=True)
class _Tally:
    """One mailbox, and what its messages and tombstones make up so far."""

    document: Document
    name: str
    messages: int = 0
    unseen: int = 0
    deleted: int = 0
    size: int = 0
    highest_uid: int = 0
    highest_modseq: int = 0
    last_uid: int = 0

    def uid(self, uid: int, modseq: int) -> None:
        self.highest_uid = max(self.highest_uid, uid)
        self.highest_modseq = max(self.highest_modseq, modseq)


@dataclass(frozen=True, slots=True)
class _Stone:
    """A range of a tombstone, buried UIDs of `mailbox` from `first` to `last`."""

    mailbox: ObjectId
    first: int
    last: int


async def examine(database: Database, user: ObjectId) -> Account:
    """Raises: Unavailable."""
    async with snapshot(database) as session:
        return await _Examination(database, session, user).run()


class _Examination:
    def __init__(self, database: Database, session: AsyncClientSession, user: ObjectId) -> None:
        self._database = database
        self._session = session
        self._user = user
        self._name = str(user)
        self._tallies: dict[ObjectId, _Tally] = {}
        self._found = Account(user)

    async def run(self) -> Account:
        await self._mailboxes(await self._account())
        async with aclosing(self._stones()) as stones:
            await self._messages(stones)
        await self._archived()
        for tally in self._tallies.values():
            self._compare(tally)
        self._found.mailboxes = len(self._tallies)
        return self._found

    def _differs(self, where: str, what: str, expected: object = "", found: object = "") -> None:
        """What cannot be put right by itself."""
        self._found.differences.append((Difference(where, what, str(expected), str(found)), None))

    def _wrong(self, tally: _Tally, what: str, expected: object, found: object, uid: int = 0) -> Repair:
        """What recounting the mailbox puts right."""
        where = f"{tally.name} uid {uid}" if uid else tally.name
        identifier: ObjectId = tally.document["_id"]
        self._found.differences.append((Difference(where, what, str(expected), str(found)), identifier))
        return self._found.repairs.setdefault(identifier, Repair())

    # -- the account and its mailboxes -----------------------------------------------------------------------------

    async def _account(self) -> Document | None:
        account = await self._database["users"].find_one({"_id": self._user}, session=self._session)
        addresses = self._database["addresses"].find({"user": self._user}, {"address": 1}, session=self._session)
        owned = {row["address"] async for row in addresses}
        if account is None:
            for address in sorted(owned):
                self._differs(f"address {address}", "belongs to an account that does not exist", found=self._user)
            return None
        self._name = str(account.get("username") or self._user)
        if account.get("address") and account["address"] not in owned:
            self._differs(f"account {self._name}", "its main address is not its own", found=account["address"])
        return account

    async def _mailboxes(self, account: Document | None) -> None:
        paths: set[str] = set()
        async for document in self._database["mailboxes"].find({"user": self._user}, session=self._session):
            path = document.get("path")
            name = f"{self._name} {path or 'deleted mailbox ' + str(document['_id'])}"
            self._tallies[document["_id"]] = _Tally(document, name)
            if path is None:
                continue
            if path in paths:
                self._differs(name, "its path is there twice")
            paths.add(path)
            if account is None:
                self._differs(name, "its account does not exist")
            elif (given := _integer(document.get("uidvalidity"))) > (last := _integer(account.get("uidvalidity"))):
                self._differs(name, "UIDVALIDITY above the account's counter", f"at most {last}", given)
        if account is not None and INBOX not in paths:
            self._differs(f"account {self._name}", "has no INBOX")

    def _compare(self, tally: _Tally) -> None:
        """The mailbox's numbers against what was counted."""
        document = tally.document
        for name in COUNTERS:
            if document.get(name) != getattr(tally, name) or type(document.get(name)) is not Int64:
                self._wrong(tally, name, getattr(tally, name), document.get(name))
        uidnext, recentuid, modseq = (_integer(document.get(name)) for name in ("uidnext", "recentuid", "modseq"))
        if uidnext <= tally.highest_uid:
            self._wrong(tally, "UIDNEXT not above all UIDs", f"at least {tally.highest_uid + 1}", uidnext)
        elif recentuid > uidnext:
            self._wrong(tally, "recentuid above UIDNEXT", f"at most {uidnext}", recentuid)
        if modseq < tally.highest_modseq:
            self._wrong(tally, "modseq below that of a change", f"at least {tally.highest_modseq}", modseq)
        keywords = [keyword.lower() for keyword in document["keywords"]]
        if len(keywords) > MAX_KEYWORDS or len(set(keywords)) < len(keywords):
            self._differs(tally.name, "keyword table too long or with a keyword twice", found=len(keywords))

    # -- tombstones ------------------------------------------------------------------------------------------------

    async def _stones(self) -> AsyncGenerator[_Stone, None]:
        """All ranges of tombstones, by mailbox and first UID."""
        pipeline: list[Document] = [
            {"$match": {"user": self._user}},
            {"$unwind": "$uids"},
            {"$project": {"mailbox": 1, "modseq": 1, "uids": 1, "first": {"$arrayElemAt": ["$uids", 0]}}},
            {"$sort": {"mailbox": 1, "first": 1}},
        ]
        expunged = self._database["expunged"]
        cursor = await expunged.aggregate(pipeline, session=self._session, allowDiskUse=True, batchSize=BATCH)
        async for row in cursor:
            tally = self._tallies.get(row["mailbox"])
            if tally is None:
                self._differs(f"{self._name} tombstone {row['_id']}", "its mailbox does not exist")
                continue
            tally.uid(int(row["uids"][1]), int(row["modseq"]))
            yield _Stone(row["mailbox"], int(row["uids"][0]), int(row["uids"][1]))

    # -- messages --------------------------------------------------------------------------------------------------

    async def _messages(self, stones: AsyncIterator[_Stone]) -> None:
        """One walk over all messages by mailbox and UID, beside the tombstones in the same order."""
        messages = self._database["messages"].find({"user": self._user}, _MESSAGE, session=self._session)
        messages = messages.sort([("mailbox", 1), ("uid", 1)]).allow_disk_use(True).batch_size(BATCH)
        stone = await anext(stones, None)
        batch: list[Document] = []
        async for message in messages:
            self._found.messages += 1
            tally = self._tallies.get(message["mailbox"])
            if tally is None:
                self._differs(f"{self._name} message {message['_id']}", "its mailbox does not exist")
                continue
            uid = self._count(tally, message)
            while stone is not None and (stone.mailbox, stone.last) < (message["mailbox"], uid):
                stone = await anext(stones, None)
            if stone is not None and stone.mailbox == message["mailbox"] and stone.first <= uid:
                self._differs(f"{tally.name} uid {uid}", "is there, and expunged by a tombstone")
            batch.append(message)
            if len(batch) >= BATCH:
                await self._contents(batch)
                batch.clear()
        await self._contents(batch)
        while stone is not None:  # the rest of them count for the highest UID and modseq
            stone = await anext(stones, None)

    def _count(self, tally: _Tally, message: Document) -> int:
        """Adds one message; its UID."""
        uid, modseq, mask = (_integer(message.get(name)) for name in ("uid", "modseq", "flags"))
        if any(type(message.get(name)) is not Int64 for name in NUMBERS):
            kinds = ", ".join(f"{name} {type(message.get(name)).__name__}" for name in NUMBERS)
            self._wrong(tally, "numbers that are not 64-bit integers", "Int64", kinds, uid)
        if mask < 0 or mask >> (FIRST_KEYWORD_BIT + len(tally.document["keywords"])):
            self._wrong(
                tally, "flags beyond the keyword table", f"{len(tally.document['keywords'])} keywords", mask, uid
            )
        if uid < 1 or (uid == tally.last_uid and tally.messages):
            self._differs(f"{tally.name} uid {uid}", "UID is not one, or there twice", found=message["_id"])
        tally.last_uid = uid
        tally.messages += 1
        tally.unseen += not mask & SEEN
        tally.deleted += bool(mask & DELETED)
        tally.uid(uid, modseq)
        return uid

    async def _contents(self, messages: Sequence[Document]) -> None:
        """Content exists, and with the prefix has the message's size; the sizes are counted here."""
        sizes = await self._content_sizes(messages)
        for message in messages:
            tally = self._tallies[message["mailbox"]]
            stored = _integer(message.get("size"))
            content = sizes.get(message.get("content"))
            if content is None:
                what = "its content does not exist"
                self._differs(f"{tally.name} uid {message.get('uid')}", what, found=message.get("content"))
            size = stored if content is None else content + int(message["prefix"])
            if size != stored:
                uid = _integer(message.get("uid"))
                self._wrong(tally, "size", size, stored, uid).sizes[uid] = size
            tally.size += size

    async def _content_sizes(self, messages: Sequence[Document]) -> dict[object, int]:
        identifiers = list({message["content"] for message in messages if "content" in message})
        query = {"_id": {"$in": identifiers}}
        cursor = self._database["contents"].find(query, {"size": 1}, session=self._session)
        return {row["_id"]: int(row["size"]) async for row in cursor}

    async def _archived(self) -> None:
        """Messages that can be restored have their content too."""
        cursor = self._database["archived"].find({"user": self._user}, {"content": 1}, session=self._session)
        cursor = cursor.batch_size(BATCH)
        batch: list[Document] = []
        async for message in cursor:
            self._found.archived += 1
            batch.append(message)
            if len(batch) >= BATCH:
                await self._archived_contents(batch)
                batch.clear()
        await self._archived_contents(batch)

    async def _archived_contents(self, messages: Sequence[Document]) -> None:
        sizes = await self._content_sizes(messages)
        for message in messages:
            if message.get("content") not in sizes:
                what = "its content does not exist"
                self._differs(f"{self._name} archived {message['_id']}", what, found=message.get("content"))


def _integer(value: object) -> int:
    """What damage left may be of any type."""
    return int(value) if isinstance(value, int | float) else 0
