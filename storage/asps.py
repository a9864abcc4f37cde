"""Application passwords: one document each; MongoDB removes those whose time is over."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from bson.objectid import ObjectId
from pymongo.asynchronous.client_session import AsyncClientSession

from duckmail.errors import NotFound
from duckmail.model.credentials import ApplicationPassword, ScramVerifier
from duckmail.model.events import Event, Told, nobody
from storage.mongo.client import Database, Document, object_id, operation
from storage.mongo.transactions import Transactions
from storage.scram import to_scram, to_scram_fields

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("asps", [("user", 1), ("_id", 1)], {}),
    ("asps", [("user", 1), ("selector", 1)], {}),
    ("asps", [("expires", 1)], {"expireAfterSeconds": 0}),
)


class Asps:
    def __init__(self, database: Database, transactions: Transactions) -> None:
        self._asps = database["asps"]
        self._transactions = transactions

    async def insert(self, asp: ApplicationPassword, told: Told = nobody) -> str:
        """Its `id` is not looked at; gives the new one."""
        identifier = ObjectId()
        document: Document = {
            "_id": identifier,
            "user": object_id(asp.user),
            "description": asp.description,
            "scopes": list(asp.scopes),
            "selector": asp.selector,
            "password": asp.hash,
            "created": asp.created,
        }
        if asp.expires is not None:
            document["expires"] = asp.expires
        if asp.scram is not None:
            document["scram"] = to_scram_fields(asp.scram)

        async def run(session: AsyncClientSession) -> None:
            await self._asps.insert_one(document, session=session)

        await self._transactions.run(run, lambda _: told(str(identifier)))
        return str(identifier)

    async def by_user(self, user: str, limit: int) -> list[ApplicationPassword]:
        """Of one account, oldest first."""
        async with operation():
            cursor = self._asps.find({"user": object_id(user)}).sort("_id", 1).limit(limit)
            return [_asp(document) for document in await cursor.to_list(None) if _lives(document)]

    async def count(self, user: str) -> int:
        async with operation():
            return await self._asps.count_documents({"user": object_id(user)})

    async def get(self, user: str, asp: str) -> ApplicationPassword:
        """Raises: NotFound, Unavailable."""
        async with operation():
            document = await self._asps.find_one({"_id": object_id(asp), "user": object_id(user)})
        if document is None or not _lives(document):
            raise NotFound("Invalid or unknown ASP key")
        return _asp(document)

    async def select(self, user: str, selector: str, limit: int) -> list[ApplicationPassword]:
        """Which of the account's may be the one that was given."""
        async with operation():
            cursor = self._asps.find({"user": object_id(user), "selector": selector}).limit(limit)
            return [_asp(document) for document in await cursor.to_list(None) if _lives(document)]

    async def keep_scram(self, asp: str, hashed: str, scram: ScramVerifier) -> None:
        """Of the password that `hashed` is of."""
        async with operation():
            query = {"_id": object_id(asp), "password": hashed}
            await self._asps.update_one(query, {"$set": {"scram": to_scram_fields(scram)}})

    async def delete(
        self, user: str, asp: str, told: Callable[[ApplicationPassword], Sequence[Event]] = nobody
    ) -> ApplicationPassword:
        """Gives what it was. Raises: NotFound, Unavailable, CommitUnknown."""
        query = {"_id": object_id(asp), "user": object_id(user)}

        async def run(session: AsyncClientSession) -> ApplicationPassword:
            document = await self._asps.find_one_and_delete(query, session=session)
            if document is None:
                raise NotFound("Invalid or unknown ASP key")
            return _asp(document)

        return await self._transactions.run(run, told)

    async def used(self, asp: str, event: str) -> None:
        """Now; `event`: id in the authlog."""
        async with operation():
            update = {"$set": {"lastUse": datetime.now(UTC), "lastEvent": event}}
            await self._asps.update_one({"_id": object_id(asp)}, update)

    async def living(self, asps: Sequence[str]) -> set[str]:
        """Those of them that still sign in."""
        async with operation(5):
            cursor = self._asps.find({"_id": {"$in": [object_id(asp) for asp in asps]}}, {"expires": 1})
            return {str(document["_id"]) for document in await cursor.to_list(None) if _lives(document)}


def _lives(document: Document) -> bool:
    # The server's own sweep may be a minute late.
    return "expires" not in document or document["expires"] > datetime.now(UTC)


def _asp(document: Document) -> ApplicationPassword:
    return ApplicationPassword(
        id=str(document["_id"]),
        user=str(document["user"]),
        description=document["description"],
        scopes=tuple(document["scopes"]),
        selector=document["selector"],
        hash=document["password"],
        created=document["created"],
        expires=document.get("expires"),
        last_use=document.get("lastUse"),
        last_event=document.get("lastEvent", ""),
        scram=to_scram(document),
    )
