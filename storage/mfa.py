"""Second factors of accounts: kept in the account's document, apart from what a `User` tells; used codes beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bson.int64 import Int64
from bson.objectid import ObjectId
from pymongo import ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from duckmail.errors import NotFound, Unavailable
from duckmail.model.account import User
from duckmail.model.events import Event
from storage.mongo.client import Database, Document, object_id, operation
from storage.mongo.transactions import Transactions
from storage.userdocuments import to_user
from storage.users import Users

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("totpcodes", [("expires", 1)], {"expireAfterSeconds": 0}),
)
_SECRETS = ("seed", "pendingSeed", "pendingSeedExpires")


def seed_context(user: str) -> str:
    """What a seed is sealed for."""
    return f"users/{user}/totp"


@dataclass(frozen=True, slots=True)
class Seeds:
    """Sealed; None where there is none. `pending`: waits for its first code."""

    user: User
    active: bytes | None
    pending: bytes | None


class Mfa:
    def __init__(self, database: Database, transactions: Transactions, users: Users) -> None:
        self._transactions = transactions
        self._users = database["users"]
        self._keys = database["webauthnkeys"]
        self._codes = database["totpcodes"]
        self._records = users

    async def seeds(self, user: str) -> Seeds:
        """Raises: NotFound, Unavailable."""
        async with operation():
            document = await self._users.find_one({"_id": object_id(user)})
        if document is None:
            raise NotFound("This user does not exist")
        expires = document.get("pendingSeedExpires")
        waits = expires is not None and expires > datetime.now(UTC)
        return Seeds(to_user(document), document.get("seed"), document.get("pendingSeed") if waits else None)

    async def begin_totp(self, user: str, seed: bytes, expires: datetime) -> bool:
        """Keeps a sealed seed until its first code; False when TOTP is on already."""
        query = {"_id": object_id(user), "enabled2fa": {"$ne": "totp"}}
        update = {"$set": {"pendingSeed": seed, "pendingSeedExpires": expires}}
        async with operation():
            return bool((await self._users.update_one(query, update)).matched_count)

    async def enable_totp(self, user: str, seed: bytes, told: Sequence[Event] = ()) -> User | None:
        """The pending `seed` becomes the active one; None when it is not pending any more."""
        query = {"_id": object_id(user), "pendingSeed": seed, "enabled2fa": {"$ne": "totp"}}
        return await self._enable(query, "totp", {"seed": "$pendingSeed"}, told)

    async def enable_custom(self, user: str, told: Sequence[Event] = ()) -> User | None:
        """None when it is on already, or there is no such account."""
        query = {"_id": object_id(user), "enabled2fa": {"$ne": "custom"}}
        return await self._enable(query, "custom", {}, told)

    async def _enable(self, query: Document, method: str, fields: Document, told: Sequence[Event]) -> User | None:
        """The first method ends what was signed in without one."""
        on: Document = {"$ifNull": ["$enabled2fa", []]}
        version: Document = {"$ifNull": ["$authVersion", Int64(0)]}
        first = {"$cond": [{"$eq": [{"$size": on}, 0]}, Int64(1), Int64(0)]}
        change: Document = {
            **fields,
            "enabled2fa": {"$concatArrays": [on, [method]]},
            "authVersion": {"$add": [version, first]},
        }
        pending = ["pendingSeed", "pendingSeedExpires"] if method == "totp" else []
        update: list[Document] = [{"$set": change}, *([{"$unset": pending}] if pending else [])]

        async def run(session: AsyncClientSession) -> Document | None:
            after = ReturnDocument.AFTER
            return await self._users.find_one_and_update(query, update, return_document=after, session=session)

        document = await self._transactions.run(run, lambda found: told if found is not None else ())
        if document is None:
            return None
        user = to_user(document)
        self._records.changed(user.id)
        return user

    async def disable(self, user: str, method: str, told: Sequence[Event] = ()) -> bool:
        """False when it was not on."""
        update: Document = {"$pull": {"enabled2fa": method}}
        if method == "totp":
            update["$unset"] = dict.fromkeys(_SECRETS, "")

        async def run(session: AsyncClientSession) -> bool:
            query = {"_id": object_id(user), "enabled2fa": method}
            return bool((await self._users.update_one(query, update, session=session)).matched_count)

        return await self._transactions.run(run, lambda done: told if done else ())

    async def disable_all(self, user: str, told: Sequence[Event] = ()) -> bool:
        """Also removes the security keys. False when there is no such account, or none was on.

        Raises: Unavailable, CommitUnknown.
        """
        owner = object_id(user)
        update = {"$unset": dict.fromkeys((*_SECRETS, "enabled2fa"), ""), "$set": {"keyed": ObjectId()}}

        async def run(session: AsyncClientSession) -> bool:
            before = await self._users.find_one_and_update({"_id": owner}, update, session=session)
            if before is None:
                return False
            await self._keys.delete_many({"user": owner}, session=session)
            return bool(before.get("enabled2fa"))

        disabled: bool = await self._transactions.run(run, lambda done: told if done else ())
        return disabled

    async def use_code(self, user: str, step: int, keep: timedelta) -> bool:
        """Marks the code of a time step as used; False when it was. `keep`: longer than the code could be valid."""
        document = {"_id": {"user": object_id(user), "step": Int64(step)}, "expires": datetime.now(UTC) + keep}
        try:
            async with operation():
                await self._codes.insert_one(document)
        except Unavailable as error:
            if isinstance(error.__cause__, DuplicateKeyError):
                return False
            raise
        return True
