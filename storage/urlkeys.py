"""The access keys of mailboxes, from which URLs are authorised (RFC 4467 §4): sealed, one a mailbox."""

from duckmail.errors import Unavailable
from storage.mongo.client import Database, object_id, operation
from storage.mongo.schema import IndexSpec

INDEXES: tuple[IndexSpec, ...] = (("urlkeys", [("user", 1)], {}),)


def seal_context(mailbox: str) -> str:
    """What the key of a mailbox is sealed for."""
    return f"urlkey:{mailbox}"


class UrlKeys:
    def __init__(self, database: Database) -> None:
        self._keys = database["urlkeys"]

    async def get(self, user: str, mailbox: str) -> bytes | None:
        """The sealed key. Raises: Unavailable."""
        async with operation():
            found = await self._keys.find_one({"_id": object_id(mailbox), "user": object_id(user)})
        return bytes(found["key"]) if found else None

    async def ensure(self, user: str, mailbox: str, sealed: bytes) -> bytes:
        """The mailbox's key: the one it has, else `sealed`. Raises: Unavailable."""
        query = {"_id": object_id(mailbox), "user": object_id(user)}
        async with operation():
            await self._keys.update_one(query, {"$setOnInsert": {"key": sealed}}, upsert=True)
        found = await self.get(user, mailbox)
        if found is None:  # reset in between
            raise Unavailable
        return found

    async def reset(self, user: str, mailbox: str | None) -> None:
        """No key any more, of the mailbox or of all that the account has. Raises: Unavailable."""
        query = {"user": object_id(user)}
        async with operation():
            await self._keys.delete_many(query if mailbox is None else {**query, "_id": object_id(mailbox)})
