"""Files of accounts, in a GridFS bucket of their own: any GridFS tool reads them.

A file belongs to an account from the moment its octets are complete: until then, and again when it is deleted or its
account is gone, its document has no `user`. Those are swept after a day, by any process.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

from bson.objectid import ObjectId

from duckmail.errors import NoSuchFile, NotFound
from duckmail.model.userfile import FileFields, FilePlace, FileQuery, FileSlice, UserFile
from storage.blobs.files import Files, NewFile
from storage.mongo.client import Database, Document, object_id, operation

BUCKET = "storage"
_DAY = timedelta(days=1)
_AT_ONCE = 20  # files whose chunks are deleted in one command

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    (f"{BUCKET}.files", [("user", 1), ("filename", 1), ("_id", 1)], {}),
    (f"{BUCKET}.files", [("user", 1), ("length", 1)], {}),
    (f"{BUCKET}.chunks", [("files_id", 1), ("n", 1)], {"unique": True}),
)


def _to_file(document: Document) -> UserFile:
    return UserFile(
        id=str(document["_id"]),
        filename=document["filename"],
        content_type=document["contentType"],
        cid=document.get("cid", ""),
        size=int(document["length"]),
        md5=document["md5"],
        created=document["uploadDate"],
    )


class UserFiles:
    def __init__(self, database: Database) -> None:
        self._files = database[f"{BUCKET}.files"]
        self._octets = Files(database, BUCKET)

    async def add(self, user: str, new: NewFile, named: FileFields, identifier: ObjectId | None = None) -> str:
        """The id of a new file, durable on return. `identifier`: it is to have; nobody's octets that are there go.

        Raises: Unavailable.
        """
        owner = object_id(user)
        if identifier is not None:
            await self._octets.delete([identifier])
        (file,) = await self._octets.write([new], [identifier or ObjectId()])
        fields: Document = {
            "user": owner,
            "filename": named.filename,
            "contentType": named.content_type,
            "md5": named.md5,
        }
        if named.cid:
            fields["cid"] = named.cid
        async with operation():
            await self._files.update_one({"_id": file}, {"$set": fields})
        return str(file)

    async def get(self, user: str, file: str) -> UserFile:
        """Raises: NoSuchFile, Unavailable."""
        found = await self.many(user, [file])
        if not found:
            raise NoSuchFile
        return found[0]

    async def many(self, user: str, files: Sequence[str]) -> list[UserFile]:
        """Those of `files` that the account has, in their order. Raises: Unavailable."""
        wanted = [ObjectId(file) for file in files]
        async with operation():
            rows = await self._files.find({"_id": {"$in": wanted}, "user": object_id(user)}).to_list(None)
        known = {row["_id"]: row for row in rows}
        return [_to_file(known[file]) for file in dict.fromkeys(wanted) if file in known]

    def read(self, file: UserFile) -> AsyncIterator[bytes]:
        """Its octets, in pieces. Raises: Unavailable."""
        return self._octets.read(ObjectId(file.id), 0, file.size)

    async def used(self, user: str) -> tuple[int, int]:
        """How many files the account has, and their octets. Raises: Unavailable."""
        pipeline: list[Document] = [
            {"$match": {"user": object_id(user)}},
            {"$group": {"_id": None, "files": {"$sum": 1}, "octets": {"$sum": "$length"}}},
        ]
        async with operation():
            hint = {"user": 1, "length": 1}
            rows = await (await self._files.aggregate(pipeline, hint=hint)).to_list(None)
        return (int(rows[0]["files"]), int(rows[0]["octets"])) if rows else (0, 0)

    async def page(self, user: str, query: FileQuery) -> FileSlice:
        """By name, and files of one name in the order they came. Raises: Unavailable."""
        wanted: Document = {"user": object_id(user)}
        if query.text:
            # Protocols §10.1 H11: a substring is found by $indexOfCP on a literal, so that nothing becomes a pattern.
            wanted["$expr"] = {"$gte": [{"$indexOfCP": ["$filename", {"$literal": query.text}]}, 0]}
        back = query.after is None and query.before is not None
        bounded = dict(wanted)
        if place := query.after or query.before:
            bounded |= _beyond(place, "$lt" if back else "$gt")
        direction = -1 if back else 1
        order = [("user", direction), ("filename", direction), ("_id", direction)]
        async with operation():
            total = await self._files.count_documents(wanted)
            rows = await self._files.find(bounded).sort(order).limit(query.limit + 1).to_list(None)
        more = len(rows) > query.limit
        del rows[query.limit :]
        files = [_to_file(row) for row in (rows[::-1] if back else rows)]
        return FileSlice(
            files,
            total,
            has_previous=more if back else query.after is not None,
            has_next=back or more,
        )

    async def delete(self, user: str, files: Sequence[str]) -> int:
        """Those of `files` that the account has are gone at once; how many. Raises: Unavailable."""
        owner = object_id(user)
        async with operation():
            query = {"_id": {"$in": [ObjectId(file) for file in files]}, "user": owner}
            found = [row["_id"] for row in await self._files.find(query, {"_id": 1}).to_list(None)]
            result = await self._files.update_many(query, _FORGOTTEN)
        # What is left over when this process ends here is swept.
        if found:
            await self._octets.delete(found)
        return result.modified_count

    async def disown(self, user: ObjectId) -> None:
        """All of an account that is gone; they are swept after it. Raises: Unavailable."""
        async with operation():
            await self._files.update_many({"user": user}, _FORGOTTEN)

    async def sweep(self) -> None:
        """Deletes what belongs to nobody for a day. Raises: Unavailable."""
        query = {"user": None, "uploadDate": {"$lt": datetime.now(UTC) - _DAY}}
        while True:
            async with operation():
                rows = await self._files.find(query, {"_id": 1}).limit(_AT_ONCE).to_list(None)
            if not rows:
                return
            await self._octets.delete([row["_id"] for row in rows])


_FORGOTTEN: Document = {"$unset": {"user": "", "filename": "", "contentType": "", "cid": ""}}


def _beyond(place: FilePlace, towards: str) -> Document:
    try:
        identifier = object_id(place.id)
    except NotFound:
        identifier = ObjectId("0" * 24)
    return {
        "$or": [
            {"filename": {towards: place.filename}},
            {"filename": place.filename, "_id": {towards: identifier}},
        ]
    }
