"""Access tokens of the API: only the SHA-256 of a token is stored."""

from dataclasses import dataclass
from datetime import UTC, datetime

from bson.int64 import Int64

from storage.mongo.client import Database, object_id, operation

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("tokens", [("expires", 1)], {"expireAfterSeconds": 0}),
    ("tokens", [("user", 1)], {"sparse": True}),
)


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A token's rights. `digest`: 32 octets. `user`: empty for a token of a server role."""

    digest: bytes
    role: str
    user: str
    auth_version: int
    created: datetime
    expires: datetime


class Tokens:
    def __init__(self, database: Database) -> None:
        self._tokens = database["tokens"]

    async def insert(self, record: TokenRecord) -> None:
        document = {
            "_id": record.digest,
            "role": record.role,
            "authVersion": Int64(record.auth_version),
            "created": record.created,
            "expires": record.expires,
        }
        if record.user:
            document["user"] = object_id(record.user)
        async with operation():
            await self._tokens.insert_one(document)

    async def find(self, digest: bytes) -> TokenRecord | None:
        """The token, unless it has expired (the server's own sweep may be a minute late)."""
        async with operation():
            document = await self._tokens.find_one({"_id": digest})
        if document is None or document["expires"] <= datetime.now(UTC):
            return None
        return TokenRecord(
            digest=bytes(document["_id"]),
            role=document["role"],
            user=str(document.get("user", "")),
            auth_version=int(document["authVersion"]),
            created=document["created"],
            expires=document["expires"],
        )

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
