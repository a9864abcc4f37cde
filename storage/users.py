"""Accounts: one document each, made together with its address and default mailboxes, removed in one step.

`unameview` is the user name without dots, unique. `uidvalidity` is the account's counter for new mailboxes, `tree`
counts changes of the folder tree; both are written by `storage.mailboxes` as well.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from bson.int64 import Int64
from bson.objectid import ObjectId
from pymongo import ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from duckmail.errors import AddressTaken, NotFound, UsernameTaken
from duckmail.model.account import Standing, User, UserQuery
from duckmail.model.credentials import ScramVerifier
from duckmail.model.events import Event, Told, nobody
from duckmail.model.settings import Settings
from storage import addresses, mailboxes
from storage.mongo.client import Database, Document, object_id, operation
from storage.mongo.transactions import Transactions
from storage.removals import Removals, end_task
from storage.userdocuments import FIELDS, LIMITS, LISTS, STANDING_FIELDS, to_fields, to_standing, to_user, username_view

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("users", [("unameview", 1)], {"unique": True}),
    ("users", [("tagsview", 1)], {"sparse": True}),
    ("deletedusers", [("user", 1)], {}),
)

RESTORABLE = timedelta(days=14)

# What open sessions depend on, beside `auth_version`.
_STANDING = frozenset({"disabled", "suspended", "disabled_scopes"})


@dataclass(frozen=True, slots=True)
class Folder:
    """A mailbox to be made with the account. `retention`: milliseconds, 0 keeps mail for ever."""

    path: str
    special_use: str | None = None
    retention: int = 0


@dataclass(frozen=True, slots=True)
class Slice:
    """One page of a listing, in order; `total` counts all pages."""

    users: list[User]
    total: int
    has_previous: bool
    has_next: bool


@dataclass(frozen=True, slots=True)
class Removal:
    """What `Users.remove` did. `id`: of the record in `deletedusers`."""

    id: str
    existed: bool
    addresses: int


class Users:
    """`changed` is told of each account whose open sessions have to be looked at, behind the commit."""

    def __init__(self, database: Database, transactions: Transactions, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.changed: Callable[[str], None] = lambda _user: None
        self._users = database["users"]
        self._addresses = database["addresses"]
        self._mailboxes = database["mailboxes"]
        self._deleted = database["deletedusers"]
        self._tasks = database["tasks"]
        self._transactions = transactions
        self.removals = Removals(database, transactions)

    async def create(
        self,
        user: User,
        view: str,
        folders: Sequence[Folder],
        address_tags: Sequence[str] = (),
        told: Told = nobody,
    ) -> str:
        """Makes the account, its main address (none when `user.address` is empty) and its mailboxes; gives its id.

        Args:
            user: its `id` is not looked at.
            view: the comparison form of `user.address`.

        Raises:
            UsernameTaken, AddressTaken, Unavailable, CommitUnknown.
        """
        owner = ObjectId()
        uidvalidity = int(time.time())
        changes = {name: getattr(user, name) for name in (*FIELDS, *LISTS, "scram") if name != "created"}
        changes |= {name: getattr(user.limits, name) for name in LIMITS}
        fields = {key: value for key, value in to_fields(changes).items() if value not in (None, "", [])}
        document = {
            **fields,
            "_id": owner,
            "created": datetime.now(UTC),
            "uidvalidity": Int64(uidvalidity),
            "tree": Int64(1),
        }
        made = [mailboxes.new_document(owner, f.path, f.special_use, uidvalidity, f.retention) for f in folders]

        async def run(session: AsyncClientSession) -> None:
            try:
                await self._users.insert_one(document, session=session)
            except DuplicateKeyError as error:
                raise UsernameTaken from error
            if user.address:
                await self._insert_address(user.address, view, owner, address_tags, session)
            await self._mailboxes.insert_many(made, session=session)

        await self._transactions.run(run, lambda _: told(str(owner)))
        return str(owner)

    async def _insert_address(
        self, address: str, view: str, owner: ObjectId, tags: Sequence[str], session: AsyncClientSession
    ) -> None:
        try:
            await self._addresses.insert_one(addresses.new_document(address, view, owner, tags), session=session)
        except DuplicateKeyError as error:
            raise AddressTaken from error

    def _user(self, document: Document) -> User:
        return to_user(document, self.settings.limits)

    async def get(self, user: str) -> User:
        """Raises: NotFound, Unavailable."""
        return await self._one({"_id": object_id(user)})

    async def by_username(self, username: str) -> User:
        """By user name, dots and case disregarded. Raises: NotFound, Unavailable."""
        return await self._one({"unameview": username_view(username)})

    async def _one(self, query: Document) -> User:
        async with operation():
            document = await self._users.find_one(query)
        if document is None:
            raise NotFound("This user does not exist")
        return self._user(document)

    async def many(self, users: Sequence[str]) -> dict[str, User]:
        """The accounts with these ids, by id; what does not exist is absent."""
        async with operation():
            documents = await self._users.find({"_id": {"$in": [object_id(user) for user in users]}}).to_list(None)
        return {str(document["_id"]): self._user(document) for document in documents}

    async def list(self, query: UserQuery, limit: int, after: str = "", before: str = "") -> Slice:
        """Accounts by ascending id: the first `limit`, those behind id `after`, or those just ahead of `before`."""
        narrowed = _query(query)
        order = -1 if before else 1
        page: Document = dict(narrowed)
        if before or after:
            page["_id"] = {"$lt": object_id(before)} if before else {"$gt": object_id(after)}
        async with operation():
            total = await self._users.count_documents(narrowed, hint="_id_")
            documents = await self._users.find(page).sort("_id", order).limit(limit + 1).to_list(None)
        more = len(documents) > limit
        found = [self._user(document) for document in documents[:limit]]
        if before:
            return Slice(found[::-1], total, has_previous=more, has_next=True)
        return Slice(found, total, has_previous=bool(after), has_next=more)

    async def ids(self, limit: int, after: str = "") -> Sequence[str]:
        """Of accounts by ascending id, behind the id `after`. Raises: Unavailable."""
        query: Document = {"_id": {"$gt": object_id(after)}} if after else {}
        async with operation():
            rows = await self._users.find(query, {"_id": 1}).sort("_id", 1).limit(limit).to_list(None)
        return [str(row["_id"]) for row in rows]

    async def used(self, users: Sequence[str]) -> dict[str, int]:
        """Octets that each account uses: the sum over its mailboxes (DESIGN §4). Without mailboxes it is absent."""
        pipeline: list[Document] = [
            {"$match": {"user": {"$in": [object_id(user) for user in users]}}},
            {"$group": {"_id": "$user", "used": {"$sum": "$size"}}},
        ]
        async with operation():
            rows = await (await self._mailboxes.aggregate(pipeline)).to_list(None)
        return {str(row["_id"]): int(row["used"]) for row in rows}

    async def update(
        self, user: str, changes: Mapping[str, object], revoke: bool = False, told: Sequence[Event] = ()
    ) -> User:
        """Sets attributes of `User` and `Limits` by name; gives the account as it is now.

        Args:
            revoke: count `auth_version` up, which ends what was signed in before.

        Raises:
            NotFound, Unavailable.
        """
        fields = to_fields(changes)
        update: Document = {}
        if fields:
            update["$set"] = fields
        if revoke:
            update["$inc"] = {"authVersion": Int64(1)}
        if not update:
            return await self.get(user)

        async def run(session: AsyncClientSession | None) -> Document | None:
            return await self._users.find_one_and_update(
                {"_id": object_id(user)}, update, return_document=ReturnDocument.AFTER, session=session
            )

        if told:
            document = await self._transactions.run(run, lambda found: told if found is not None else ())
        else:
            async with operation():
                document = await run(None)
        if document is None:
            raise NotFound("This user does not exist")
        if revoke or not _STANDING.isdisjoint(changes):
            self.changed(user)
        return self._user(document)

    async def log_out(self, user: str, reason: str) -> None:
        """Ends the open sessions. Raises: NotFound, Unavailable."""
        update = {"$inc": {"sessionVersion": Int64(1)}, "$set": {"logoutReason": reason}}
        async with operation():
            result = await self._users.update_one({"_id": object_id(user)}, update)
        if not result.matched_count:
            raise NotFound("User not found")
        self.changed(user)

    async def standings(self, users: Sequence[str]) -> dict[str, Standing]:
        """What the sessions of these accounts depend on; what does not exist is absent."""
        query = {"_id": {"$in": [object_id(user) for user in users]}}
        async with operation(5):
            documents = await self._users.find(query, dict.fromkeys(STANDING_FIELDS, 1)).to_list(None)
        return {str(document["_id"]): to_standing(document) for document in documents}

    async def renew(self, user: str, old: str, new: str, scram: ScramVerifier | None) -> None:
        """Stores the same password's stronger hash, and its verifier (None leaves it), unless the password was changed
        meanwhile."""
        changes = {"password_hash": new, "scram": scram} if scram else {"password_hash": new}
        async with operation():
            await self._users.update_one({"_id": object_id(user), "password": old}, {"$set": to_fields(changes)})

    async def keep_salt(self, user: str, scram: ScramVerifier) -> None:
        """For an account that has none yet."""
        async with operation():
            query = {"_id": object_id(user), "scram": None}
            await self._users.update_one(query, {"$set": to_fields({"scram": replace(scram, keys=b"")})})

    async def remove(self, user: str, delete_after: datetime | None = None, told: Told = nobody) -> Removal:
        """Takes the account away, all at once: nobody can sign in, no address accepts mail, the mailboxes are stubs.
        What is needed to restore it is kept in `deletedusers` until `delete_after`, or for `RESTORABLE`; then a task
        deletes it for good, with its mail and all else.

        An account that does not exist changes nothing.
        """
        owner = object_id(user)
        removal = ObjectId()

        async def run(session: AsyncClientSession) -> Removal:
            document = await self._users.find_one_and_delete({"_id": owner}, session=session)
            if document is None:
                return Removal(str(removal), existed=False, addresses=0)
            owned = await self._addresses.find({"user": owner}, session=session).to_list(None)
            await self._addresses.delete_many({"user": owner}, session=session)
            now = datetime.now(UTC)
            due = delete_after or now + RESTORABLE
            record = {"_id": removal, "user": owner, "account": document, "addresses": owned, "deleted": now}
            record["due"] = due
            if delete_after is not None:
                record["deleteAfter"] = delete_after
            await self._deleted.insert_one(record, session=session)
            await self._tasks.insert_one(end_task(removal, user, due), session=session)
            bury = {"$set": {"gone": now, "was": "$path", "held": removal, "modseq": {"$add": ["$modseq", Int64(1)]}}}
            living = {"user": owner, "path": {"$exists": True}}
            await self._mailboxes.update_many(living, [bury, {"$unset": "path"}], session=session)
            return Removal(str(removal), existed=True, addresses=len(owned))

        removed: Removal = await self._transactions.run(run, lambda done: told(user) if done.existed else ())
        self.changed(user)
        return removed


def _query(query: UserQuery) -> Document:
    # Protocols §10.1 H11: substrings are found by $indexOfCP on a literal, so that nothing becomes a pattern.
    conditions: list[Document] = []
    if query.text:
        needle = query.text.lower()
        view = needle.replace(".", "")
        found: list[Document] = [_contains("$address", needle)]
        if view:
            found.append(_contains("$unameview", view))
        conditions.append({"$expr": {"$or": found}})
    if query.forward:
        matched = {"$map": {"input": {"$ifNull": ["$targets", []]}, "in": _contains("$$this", query.forward.lower())}}
        conditions.append({"$expr": {"$anyElementTrue": [matched]}})
    if query.tags:
        conditions.append({"tagsview": {"$in": [tag.lower() for tag in query.tags]}})
    if query.required_tags:
        conditions.append({"tagsview": {"$all": [tag.lower() for tag in query.required_tags]}})
    return {"$and": conditions} if conditions else {}


def _contains(field: str, needle: str) -> Document:
    return {"$gte": [{"$indexOfCP": [{"$toLower": field}, {"$literal": needle}]}, 0]}
