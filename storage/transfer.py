"""Accounts as one stream of octets, and back (docs/export.md tells the format).

A file begins with `MAGIC`; what follows are records: four octets with the length of a BSON document, the least first,
and the document, which has the length in itself once more. Nothing here holds more than one message.
"""

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import bson
from bson.errors import InvalidBSON
from bson.int64 import Int64
from bson.objectid import ObjectId
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from duckmail.errors import DuckmailError, InvalidInput, Unavailable
from duckmail.model.account import NO_QUOTA
from duckmail.model.flags import to_names
from duckmail.model.message import NewMessage
from storage import transferkinds
from storage.changes.append import Append
from storage.changes.base import Key
from storage.mailboxes import new_document
from storage.mongo.client import CODEC, Document, object_id, operation
from storage.store import Store

MAGIC = b"duckmail-export 1\n"
LARGEST_RECORD = 17 << 20  # octets: a document of MongoDB, and what is around it
PIECE = 256 * 1024
BATCH = 200
LOADED = 4  # contents in memory at once, up to 2 MiB each
LARGEST_MESSAGE = 256 << 20

# In this order: each names only what came before it. Documents as they are, secrets as hashes or sealed.
# Of a security key it is the public one: there is no secret in it.
PLAIN: tuple[str, ...] = ("addresses", "asps", "addressregister", "autoreplies", "filters", "webauthnkeys")
_PRIVATE = ("audits", "sessionVersion", "logoutReason", "filled")
_MAILBOX = ("path", "specialUse", "subscribed", "hidden", "retention", "encryptMessages")
_MESSAGE = ("idate", "prefix", "meta", "expires")


def _record(document: Document) -> bytes:
    octets = bson.encode(document)
    return len(octets).to_bytes(4, "little") + octets


async def _followed(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The records behind an entry that has octets."""
    digest = hashlib.sha256()
    async for octets in pieces:
        digest.update(octets)
        yield _record({"octets": octets})
    yield _record({"sha256": digest.digest()})


@dataclass(slots=True)
class Transferred:
    """What an import did. `entries`: documents in the file; each of them was `imported`, `existing` or `failed`."""

    entries: int = 0
    imported: int = 0
    failed: int = 0
    existing: int = 0


class Export:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._database = store.database

    async def find(self, users: Sequence[str], tags: Sequence[str]) -> list[ObjectId]:
        """Those of `users` that exist, and all that have any of `tags`. Raises: Unavailable."""
        wanted = [object_id(user) for user in users]
        some = [{"_id": {"$in": wanted}}, {"tagsview": {"$in": [tag.lower() for tag in tags]}}]
        async with operation():
            rows = await self._database["users"].find({"$or": some}, {"_id": 1}).sort("_id", 1).to_list(None)
        return [row["_id"] for row in rows]

    async def write(self, users: Sequence[ObjectId]) -> AsyncIterator[bytes]:
        """The file; nothing without accounts. Raises: Unavailable."""
        if not users:
            return
        yield MAGIC
        count = 0
        for user in users:
            async for octets, entries in self._account(user):
                count += entries
                yield octets
        yield _record({"end": Int64(count)})

    async def _account(self, user: ObjectId) -> AsyncIterator[tuple[bytes, int]]:
        async with operation():
            account = await self._database["users"].find_one({"_id": user})
        if account is None:  # removed meanwhile
            return
        private = {name: value for name, value in account.items() if name not in _PRIVATE}
        yield _record({"in": "users", "entry": private}), 1
        async with operation():
            living = {"user": user, "path": {"$exists": True}}
            mailboxes = await self._database["mailboxes"].find(living).sort("path", 1).to_list(None)
        for mailbox in mailboxes:
            fields = {name: mailbox[name] for name in ("_id", "user", *_MAILBOX) if name in mailbox}
            yield _record({"in": "mailboxes", "entry": fields}), 1
        for name in PLAIN:
            async with operation():
                rows = await self._database[name].find({"user": user}).to_list(None)
            for row in rows:
                yield _record({"in": name, "entry": row}), 1
        for mailbox in mailboxes:
            async for octets, entries in self._messages(mailbox):
                yield octets, entries
        async for name, entry, pieces in transferkinds.exported(self._store, user):
            yield _record({"in": name, "entry": entry}), 1
            async for record in _followed(pieces):
                yield record, 0

    async def _messages(self, mailbox: Document) -> AsyncIterator[tuple[bytes, int]]:
        last = 0
        while True:
            query = {"user": mailbox["user"], "mailbox": mailbox["_id"], "uid": {"$gt": Int64(last)}}
            async with operation():
                rows = await self._database["messages"].find(query).sort("uid", 1).limit(BATCH).to_list(None)
            for start in range(0, len(rows), LOADED):
                some = rows[start : start + LOADED]
                contents = await self._store.contents.load([str(row["content"]) for row in some])
                for row in some:
                    content = contents.get(str(row["content"]))
                    if content is None:
                        raise Unavailable(error="a content is missing", content=str(row["content"]))
                    entry = {name: row[name] for name in ("_id", "user", "mailbox", *_MESSAGE) if name in row}
                    entry |= {"flags": list(to_names(row["flags"], mailbox["keywords"])), "size": Int64(content.size)}
                    yield _record({"in": "messages", "entry": entry}), 1
                    async for record in _followed(content.read()):
                        yield record, 0
            if len(rows) < BATCH:
                return
            last = int(rows[-1]["uid"])


@dataclass(slots=True)
class _Reader:
    """Records of a stream of octets, however it is cut."""

    octets: AsyncIterator[bytes]
    held: bytearray = field(default_factory=bytearray)

    async def take(self, count: int) -> bytes:
        """Raises: InvalidInput: the stream ends before."""
        while len(self.held) < count:
            piece = await anext(self.octets, None)
            if piece is None:
                raise InvalidInput("The file ends too early")
            self.held += piece
        taken = bytes(self.held[:count])
        del self.held[:count]
        return taken

    async def record(self) -> Document:
        """Raises: InvalidInput."""
        length = int.from_bytes(await self.take(4), "little")
        if not 5 <= length <= LARGEST_RECORD:
            raise InvalidInput("A record of the file has no length that one can have")
        octets = await self.take(length)
        try:
            found: Document = bson.decode(octets, codec_options=CODEC)
        except (InvalidBSON, ValueError, OverflowError):
            raise InvalidInput("A record of the file cannot be read") from None
        return found


class Import:
    """One file. What is there already, by its id, stays as it is: so the same file may be read again and again."""

    def __init__(self, store: Store, octets: AsyncIterator[bytes]) -> None:
        self._store = store
        self._database = store.database
        self._reader = _Reader(octets)
        self._users: set[ObjectId] = set()
        self._mailboxes: set[ObjectId] = set()
        self.done = Transferred()

    async def run(self) -> Transferred:
        """Raises: InvalidInput: what is no export, or not all of one; what came before stays. Unavailable."""
        if await self._reader.take(len(MAGIC)) != MAGIC:
            raise InvalidInput("The file is no export of duckmail")
        while True:
            record = await self._reader.record()
            if "end" in record:
                return self.done
            name, entry = record.get("in"), record.get("entry")
            if not isinstance(name, str) or not isinstance(entry, dict) or not isinstance(entry.get("_id"), ObjectId):
                raise InvalidInput("A record of the file is none that is known here")
            self.done.entries += 1
            outcome = await self._entry(name, entry)
            setattr(self.done, outcome, getattr(self.done, outcome) + 1)

    async def _entry(self, name: str, entry: Document) -> str:
        """How it came out, as a field of `Transferred`."""
        if name == "messages":
            return await self._message(entry)
        if name == "users":
            outcome = await self._insert("users", {key: entry[key] for key in entry if key not in _PRIVATE})
            if outcome != "failed":
                self._users.add(entry["_id"])
            return outcome
        if name in transferkinds.KINDS:
            raw = await self._octets(int(entry.get("size", -1)))
            return await transferkinds.put(self._store, name, entry, raw) if self._owned(entry) else "failed"
        if not self._owned(entry):
            return "failed"
        if name == "mailboxes":
            return await self._mailbox(entry)
        if name not in PLAIN:
            raise InvalidInput("A record of the file is none that is known here")
        return await self._insert(name, entry)

    def _owned(self, entry: Document) -> bool:
        return entry.get("user") in self._users

    async def _insert(self, name: str, document: Document) -> str:
        try:
            async with operation():
                await self._database[name].insert_one(document)
        except Unavailable as error:
            if not isinstance(error.__cause__, DuplicateKeyError):
                raise
            async with operation():
                same = await self._database[name].find_one({"_id": document["_id"]}, {"user": 1})
            mine = same is not None and same.get("user") == document.get("user")
            return "existing" if mine else "failed"
        return "imported"

    async def _mailbox(self, entry: Document) -> str:
        """With a UIDVALIDITY of its own and no messages yet."""
        owner, identifier = entry["user"], entry["_id"]
        path = entry.get("path")
        if not isinstance(path, str):
            return "failed"

        async def run(session: AsyncClientSession) -> str:
            mailboxes = self._database["mailboxes"]
            known = await mailboxes.find_one({"_id": identifier}, {"user": 1, "path": 1}, session=session)
            if known is not None:
                return "existing" if known["user"] == owner and "path" in known else "failed"
            bump = {"$inc": {"uidvalidity": Int64(1), "tree": Int64(1)}}
            account = await self._database["users"].find_one_and_update({"_id": owner}, bump, session=session)
            if account is None:
                return "failed"
            use, kept = entry.get("specialUse"), int(entry.get("retention", 0))
            made = new_document(owner, path, use, int(account["uidvalidity"]) + 1, kept, hidden=bool(entry["hidden"]))
            made |= {"_id": identifier, "subscribed": bool(entry["subscribed"])}
            if entry.get("encryptMessages"):
                made["encryptMessages"] = True
            if account.get("audits"):
                made["audits"] = account["audits"]
            await mailboxes.insert_one(made, session=session)
            return "imported"

        try:
            outcome = await self._store.transactions.run(run)
        except DuplicateKeyError:  # the path is another mailbox's
            return "failed"
        if outcome != "failed":
            self._mailboxes.add(identifier)
        return outcome

    async def _message(self, entry: Document) -> str:
        raw = await self._octets(int(entry.get("size", -1)))
        if not self._owned(entry) or entry.get("mailbox") not in self._mailboxes:
            return "failed"
        query = {"_id": entry["_id"], "user": entry["user"]}
        async with operation():
            for name in ("messages", "archived"):
                if await self._database[name].find_one(query, {"_id": 1}) is not None:
                    return "existing"
        flags, prefix = tuple(map(str, entry.get("flags", ()))), bytes(entry.get("prefix", b""))
        prepared = await self._store.contents.prepare(raw)
        new = NewMessage(prepared, flags, entry["idate"], prefix)
        change = Append(Key(entry["user"], entry["mailbox"]), [(new, prepared)], NO_QUOTA)
        change.ids = [entry["_id"]]
        try:
            (appended,) = await self._store.committer.submit(change)
        except DuckmailError as error:
            if error.temporary:
                raise
            return "failed"
        fields: Document = {name: entry[name] for name in ("meta", "expires") if name in entry}
        if fields:
            owner, box = str(entry["user"]), str(entry["mailbox"])
            await self._store.listing.set_fields(owner, box, [appended.uid], fields)
        return "imported"

    async def _octets(self, size: int) -> bytearray:
        """The octets behind a message's record. Raises: InvalidInput: they are not what was exported."""
        if not 0 <= size <= LARGEST_MESSAGE:
            raise InvalidInput("A message of the file has no size that one can have")
        raw = bytearray()
        while "sha256" not in (record := await self._reader.record()):
            octets = record.get("octets")
            if not isinstance(octets, bytes) or len(raw) + len(octets) > size:
                raise InvalidInput("The octets of a message do not follow it")
            raw += octets
        if len(raw) != size or hashlib.sha256(raw).digest() != record["sha256"]:
            raise InvalidInput("A message of the file is damaged")
        return raw
