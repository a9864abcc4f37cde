"""Security keys of accounts, and the challenges that wait for their answers: both single documents.

The method `webauthn` of an account is on while it has a key: both change in one transaction. A challenge is taken by
the first answer to it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bson.binary import Binary
from bson.int64 import Int64
from bson.objectid import ObjectId
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from duckmail.errors import AlreadyExists, LimitReached, NoSuchAccount
from duckmail.model.credentials import Challenge, SecurityKey
from duckmail.model.events import Told, nobody
from storage.mongo.client import Database, Document, object_id, operation
from storage.mongo.transactions import Transactions

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("webauthnkeys", [("user", 1), ("rawId", 1)], {"unique": True}),
    ("webauthnchallenges", [("user", 1), ("expires", -1)], {}),
    ("webauthnchallenges", [("expires", 1)], {"expireAfterSeconds": 0}),
)
MOST_KEYS = 50  # of one account
MOST_CHALLENGES = 20  # that wait; older ones go

METHOD = "webauthn"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A challenge that was given out. `digest`: its SHA-256."""

    digest: bytes
    user: str
    challenge: Challenge


class WebAuthnRecords:
    def __init__(self, database: Database, transactions: Transactions) -> None:
        self._users = database["users"]
        self._keys = database["webauthnkeys"]
        self._challenges = database["webauthnchallenges"]
        self._transactions = transactions

    async def keys(self, user: str) -> list[SecurityKey]:
        """Of one account, oldest first."""
        async with operation():
            documents = await self._keys.find({"user": object_id(user)}).limit(MOST_KEYS).to_list(None)
        return sorted(map(_key, documents), key=lambda key: key.id)

    async def add(self, user: str, key: SecurityKey, told: Told = nobody) -> str:
        """Its `id` is not looked at; gives the new one. Turns the method on.

        Raises: NoSuchAccount, AlreadyExists, LimitReached, Unavailable, CommitUnknown.
        """
        owner, identifier = object_id(user), ObjectId()
        document: Document = {
            "_id": identifier,
            "user": owner,
            "rawId": Binary(key.raw_id),
            "publicKey": Binary(key.public_key),
            "counter": Int64(key.counter),
            "description": key.description,
            "attachment": key.attachment,
            "created": key.created,
        }

        async def run(session: AsyncClientSession) -> None:
            # The account's document is written first: two at a time come one after the other.
            found = await self._users.update_one(
                {"_id": owner}, {"$addToSet": {"enabled2fa": METHOD}, "$set": {"keyed": identifier}}, session=session
            )
            if not found.matched_count:
                raise NoSuchAccount
            if await self._keys.count_documents({"user": owner}, session=session) >= MOST_KEYS:
                raise LimitReached("Maximum allowed number of security keys reached", allowed=MOST_KEYS)
            try:
                await self._keys.insert_one(document, session=session)
            except DuplicateKeyError as error:
                raise AlreadyExists("This security key is registered already") from error

        await self._transactions.run(run, lambda _: told(str(identifier)))
        return str(identifier)

    async def remove(self, user: str, key: str) -> SecurityKey | None:
        """What it was. The last one turns the method off. Raises: Unavailable, CommitUnknown."""
        owner = object_id(user)

        async def run(session: AsyncClientSession) -> SecurityKey | None:
            touched = {"$set": {"keyed": ObjectId()}}
            if not (await self._users.update_one({"_id": owner}, touched, session=session)).matched_count:
                return None
            found = await self._keys.find_one_and_delete({"_id": object_id(key), "user": owner}, session=session)
            if found is None:
                return None
            if not await self._keys.count_documents({"user": owner}, session=session, limit=1):
                await self._users.update_one({"_id": owner}, {"$pull": {"enabled2fa": METHOD}}, session=session)
            return _key(found)

        removed: SecurityKey | None = await self._transactions.run(run)
        return removed

    async def count_up(self, key: str, counter: int) -> bool:
        """Keeps a key's counter; False when it is not above the one that is kept (it was used twice, or copied)."""
        query = {"_id": object_id(key), "counter": {"$lt": Int64(counter)}}
        async with operation():
            return bool((await self._keys.update_one(query, {"$set": {"counter": Int64(counter)}})).matched_count)

    async def begin(self, waiting: Waiting, lasts: timedelta) -> None:
        """Keeps a challenge until it is answered; of an account the latest `MOST_CHALLENGES`."""
        owner, given = object_id(waiting.user), waiting.challenge
        document: Document = {
            "_id": Binary(waiting.digest),
            "user": owner,
            "purpose": given.purpose,
            "rpId": given.rp_id,
            "origin": given.origin,
            "attachment": given.attachment,
            "description": given.description,
            "expires": datetime.now(UTC) + lasts,
        }
        async with operation():
            await self._challenges.insert_one(document)
            older = self._challenges.find({"user": owner}, {"_id": 1}).sort("expires", -1).skip(MOST_CHALLENGES)
            ids = [row["_id"] for row in await older.limit(MOST_CHALLENGES).to_list(None)]
            if ids:
                await self._challenges.delete_many({"_id": {"$in": ids}})

    async def take(self, user: str, purpose: str, digest: bytes) -> Challenge | None:
        """The account's challenge, which nobody gets a second time; None when there is none for this purpose."""
        query = {"_id": Binary(digest), "user": object_id(user), "purpose": purpose}
        async with operation():
            document = await self._challenges.find_one_and_delete(query)
        if document is None or document["expires"] <= datetime.now(UTC):
            return None
        return Challenge(
            purpose=purpose,
            rp_id=document["rpId"],
            origin=document["origin"],
            attachment=document["attachment"],
            description=document["description"],
        )


def _key(document: Document) -> SecurityKey:
    return SecurityKey(
        id=str(document["_id"]),
        raw_id=bytes(document["rawId"]),
        public_key=bytes(document["publicKey"]),
        counter=int(document["counter"]),
        description=document["description"],
        attachment=document["attachment"],
        created=document["created"],
    )
