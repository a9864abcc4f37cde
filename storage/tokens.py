"""Access tokens of the API: only the SHA-256 of a token is stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bson.int64 import Int64

from storage.mongo.client import Database, Document, object_id, operation

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("tokens", [("expires", 1)], {"expireAfterSeconds": 0}),
    ("tokens", [("user", 1)], {"sparse": True}),
    ("tokens", [("role", 1), ("created", 1)], {}),
)


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A token's rights. `digest`: 32 octets. `user`: empty for a token of a server role. `ttl`: from its last use, None
    for the server's. `note`: whom it was made for."""

    digest: bytes
    role: str
    user: str
    auth_version: int
    created: datetime
    expires: datetime
    ttl: timedelta | None = None
    note: str = ""


class Tokens:
    def __init__(self, database: Database) -> None:
        self._tokens = database["tokens"]

    async def insert(self, record: TokenRecord) -> None:
        document: Document = {
            "_id": record.digest,
            "role": record.role,
            "authVersion": Int64(record.auth_version),
            "created": record.created,
            "expires": record.expires,
        }
        if record.user:
            document["user"] = object_id(record.user)
        if record.ttl is not None:
            document["ttl"] = Int64(record.ttl.total_seconds())
        if record.note:
            document["note"] = record.note
        async with operation():
            await self._tokens.insert_one(document)

    async def find(self, digest: bytes) -> TokenRecord | None:
        """The token, unless it has expired."""
        async with operation():
            document = await self._tokens.find_one({"_id": digest})
        if document is None or not _lives(document):
            return None
        return _record(document)

    async def living(self, digests: Sequence[bytes]) -> set[bytes]:
        """Those of them that are tokens still. Raises: Unavailable."""
        async with operation(5):
            cursor = self._tokens.find({"_id": {"$in": list(digests)}}, {"expires": 1})
            return {bytes(document["_id"]) for document in await cursor.to_list(None) if _lives(document)}

    async def by_role(self, role: str, limit: int) -> list[TokenRecord]:
        """Living tokens, oldest first."""
        async with operation():
            cursor = self._tokens.find({"role": role}).sort("created", 1).limit(limit)
            return [_record(document) for document in await cursor.to_list(None) if _lives(document)]

    async def of_user(self, user: str, limit: int) -> list[TokenRecord]:
        """Living tokens of one account."""
        async with operation():
            cursor = self._tokens.find({"user": object_id(user)}).limit(limit)
            return [_record(document) for document in await cursor.to_list(None) if _lives(document)]

    async def starting(self, begin: bytes, end: bytes, limit: int) -> list[TokenRecord]:
        """Living tokens whose digest lies between the two."""
        async with operation():
            cursor = self._tokens.find({"_id": {"$gte": begin, "$lte": end}}).limit(limit)
            return [_record(document) for document in await cursor.to_list(None) if _lives(document)]

    async def extend(self, digest: bytes, expires: datetime) -> None:
        async with operation():
            await self._tokens.update_one({"_id": digest}, {"$set": {"expires": expires}})

    async def renew(self, digest: bytes, auth_version: int) -> None:
        """Lets the token outlive the change of its account that made `auth_version`."""
        async with operation():
            await self._tokens.update_one({"_id": digest}, {"$set": {"authVersion": Int64(auth_version)}})

    async def delete(self, digest: bytes) -> None:
        async with operation():
            await self._tokens.delete_one({"_id": digest})


def _lives(document: Document) -> bool:
    # The server's own sweep may be a minute late.
    return bool(document["expires"] > datetime.now(UTC))


def _record(document: Document) -> TokenRecord:
    return TokenRecord(
        digest=bytes(document["_id"]),
        role=document["role"],
        user=str(document.get("user", "")),
        auth_version=int(document["authVersion"]),
        created=document["created"],
        expires=document["expires"],
        ttl=timedelta(seconds=int(document["ttl"])) if "ttl" in document else None,
        note=document.get("note", ""),
    )
