"""What an export has beside mailboxes and their messages, each with its octets: archived messages, mail on its way out,
and files.

- Archived messages and files keep their ids, so that what names them still does.
- Queued mail comes in held: the server it was exported from may be sending it. Whoever moves an account for good
  releases it.
"""

from collections.abc import AsyncIterator, Iterator
from datetime import datetime

from bson.int64 import Int64
from bson.objectid import ObjectId

from duckmail.errors import Unavailable
from duckmail.model.message import NewMessage
from duckmail.model.userfile import FileFields
from storage.blobs.files import CHUNK, NewFile
from storage.documents import message_document
from storage.mongo.client import Document, operation
from storage.queuedocuments import to_message
from storage.store import Store

ARCHIVED, QUEUED, FILES = "archived", "queue", "files"
KINDS = frozenset({ARCHIVED, QUEUED, FILES})
BATCH = 200
_ARCHIVED = ("_id", "user", "mailbox", "uid", "idate", "prefix", "meta", "flags", "archived", "thread")
_QUEUED = ("_id", "user", "origin", "envelope", "recipients", "created", "due", "prefix", "vouched")
_FILE = ("_id", "user", "filename", "contentType", "md5", "cid", "uploadDate")

Exported = tuple[str, Document, AsyncIterator[bytes]]


async def exported(store: Store, user: ObjectId) -> AsyncIterator[Exported]:
    """Collection, entry with the `size` of what follows it, and that. Raises: Unavailable."""
    async for row in _rows(store, ARCHIVED, {"user": user}):
        yield await _with_content(store, ARCHIVED, row, _ARCHIVED)
    async for row in _rows(store, QUEUED, {"user": user, "ended": {"$exists": False}}):
        yield await _with_content(store, QUEUED, row, _QUEUED)
    async for row in _rows(store, "storage.files", {"user": user}):
        entry = {name: row[name] for name in _FILE if name in row} | {"size": Int64(row["length"])}
        (file,) = await store.files.many(str(user), [str(row["_id"])])
        yield FILES, entry, store.files.read(file)


async def _rows(store: Store, name: str, query: Document) -> AsyncIterator[Document]:
    """By id, a batch at a time."""
    async with operation():
        known = await store.database[name].find(query, {"_id": 1}).to_list(None)
    ids = sorted(row["_id"] for row in known)
    for start in range(0, len(ids), BATCH):
        some = {**query, "_id": {"$in": ids[start : start + BATCH]}}
        async with operation():
            rows = await store.database[name].find(some).to_list(None)
        for row in rows:
            yield row


async def _with_content(store: Store, kind: str, row: Document, names: tuple[str, ...]) -> Exported:
    found = (await store.contents.load([str(row["content"])])).get(str(row["content"]))
    if found is None:
        raise Unavailable(error="a content is missing", content=str(row["content"]))
    return kind, {name: row[name] for name in names if name in row} | {"size": Int64(found.size)}, found.read()


async def put(store: Store, kind: str, entry: Document, raw: bytearray) -> str:
    """How it came out, as a field of `Transferred`; its account is one of the import's. Raises: Unavailable."""
    collection = "storage.files" if kind == FILES else kind
    query = {"_id": entry["_id"]}
    async with operation():
        known = await store.database[collection].find_one(query, {"user": 1})
        if known is None and kind == ARCHIVED:  # it may have been brought back
            known = await store.database["messages"].find_one({**query, "user": entry["user"]}, {"user": 1})
    if known is not None and "user" in known:
        return "existing" if known["user"] == entry["user"] else "failed"
    try:
        if kind == FILES:
            return await _put_file(store, entry, raw)
        document = await (_archived if kind == ARCHIVED else _queued)(store, entry, raw)
    except (KeyError, TypeError, ValueError):
        return "failed"
    async with operation():
        await store.database[kind].insert_one(document)
    return "imported"


async def _archived(store: Store, entry: Document, raw: bytearray) -> Document:
    prepared = await store.contents.prepare(raw)
    flags = [str(name) for name in entry["flags"]]
    if not isinstance(entry["archived"], datetime) or not isinstance(entry["mailbox"], ObjectId):
        raise TypeError
    new = NewMessage(prepared, tuple(flags), entry["idate"], bytes(entry.get("prefix", b"")))
    await store.contents.insert_many([prepared])
    kept = ("_id", "user", "mailbox", "archived", "meta", "thread")
    own: Document = {name: entry[name] for name in kept if name in entry}
    return {
        **message_document(new, prepared, entry["archived"]),
        **own,
        "uid": Int64(entry["uid"]),
        "modseq": Int64(1),
        "emailid": entry["_id"],
        "flags": flags,
    }


async def _queued(store: Store, entry: Document, raw: bytearray) -> Document:
    prepared = await store.contents.prepare(raw)
    document: Document = {name: entry[name] for name in _QUEUED if name in entry}
    size = prepared.size + len(entry.get("prefix", b""))
    document |= {"content": prepared.document["_id"], "size": Int64(size), "held": True}
    to_message(document)  # what is not whole is none
    await store.contents.insert_many([prepared])
    return document


async def _put_file(store: Store, entry: Document, raw: bytearray) -> str:
    def pieces() -> Iterator[bytes]:
        for start in range(0, len(raw), CHUNK):
            yield bytes(raw[start : start + CHUNK])

    cid = str(entry.get("cid", ""))
    # Its octets are as they were exported: that is seen by a digest of the whole.
    fields = FileFields(str(entry["filename"]), str(entry["contentType"]), cid, str(entry["md5"]))
    if not isinstance(entry["uploadDate"], datetime):
        raise TypeError
    await store.files.add(str(entry["user"]), NewFile(len(raw), pieces), fields, entry["_id"])
    async with operation():
        came = {"$set": {"uploadDate": entry["uploadDate"]}}
        await store.database["storage.files"].update_one({"_id": entry["_id"]}, came)
    return "imported"
