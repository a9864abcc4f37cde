"""Filters, autoreplies and lists of domains: what decides about incoming mail.

An account that has ever had a filter, or has an autoreply that is on, is marked as such in its own document: who has
neither costs delivery no query.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime

from bson.int64 import Int64
from bson.objectid import ObjectId
from pymongo import ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession

from duckmail.errors import LimitReached, NotFound
from duckmail.model.autoreply import Autoreply
from duckmail.model.events import Event, Told, nobody
from duckmail.model.filters import Filter, FilterAction, FilterQuery
from storage.mongo.client import Database, Document, object_id, operation
from storage.mongo.transactions import Transactions

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("filters", [("user", 1), ("_id", 1)], {}),
    ("autoreplies", [("user", 1)], {"unique": True}),
    ("domainaccess", [("tagview", 1), ("domain", 1)], {"unique": True}),
)

_QUERY = {
    "from_": "from",
    "to": "to",
    "subject": "subject",
    "list_id": "listId",
    "text": "text",
    "ha": "ha",
    "size": "size",
}
_NO_USER = "This user does not exist"


@dataclass(frozen=True, slots=True)
class FilterSlice:
    """One page of a listing, by ascending id; `total` counts all pages."""

    filters: list[Filter]
    total: int
    has_previous: bool
    has_next: bool


@dataclass(frozen=True, slots=True)
class DomainEntry:
    """`action`: `allow` or `block`."""

    id: str
    domain: str
    action: str


def to_filter(document: Document) -> Filter:
    query, action = document["query"], document["action"]
    return Filter(
        id=str(document["_id"]),
        user=str(document["user"]),
        query=FilterQuery(**{name: query[key] for name, key in _QUERY.items() if key in query}),
        action=FilterAction(
            **{name: action[name] for name in ("seen", "flag", "delete", "spam") if name in action},
            mailbox=str(action.get("mailbox", "")),
            targets=tuple(action.get("targets", ())),
        ),
        name=document.get("name", ""),
        disabled=bool(document.get("disabled", False)),
        created=document.get("created"),
        meta_data=document.get("metaData", "{}"),
    )


def _fields(each: Filter) -> Document:
    """What of a filter may change, all of it."""
    query = {key: getattr(each.query, name) for name, key in _QUERY.items()}
    action: Document = {name.name: getattr(each.action, name.name) for name in fields(each.action)}
    return {
        "query": {
            key: _number(value) for key, value in query.items() if value not in ("", None) and (key != "size" or value)
        },
        "action": {
            key: list(value) if key == "targets" else object_id(value) if key == "mailbox" else value
            for key, value in action.items()
            if value not in ("", None, ())
        },
        "name": each.name,
        "disabled": each.disabled,
        "metaData": each.meta_data,
    }


def _number(value: object) -> object:
    return Int64(value) if isinstance(value, int) and not isinstance(value, bool) else value


class Filters:
    def __init__(self, database: Database, transactions: Transactions) -> None:
        self._filters = database["filters"]
        self._users = database["users"]
        self._transactions = transactions

    async def enabled(self, users: Sequence[str]) -> dict[str, list[Filter]]:
        """Of these accounts, in the order in which they were made. Raises: Unavailable."""
        query = {"user": {"$in": [object_id(user) for user in users]}}
        async with operation():
            documents = await self._filters.find(query).sort([("user", 1), ("_id", 1)]).to_list(None)
        found: dict[str, list[Filter]] = {}
        for document in documents:
            if not document.get("disabled"):
                found.setdefault(str(document["user"]), []).append(to_filter(document))
        return found

    async def of_user(self, user: str) -> list[Filter]:
        """All of them, in the order in which they were made. Raises: Unavailable."""
        async with operation():
            documents = await self._filters.find({"user": object_id(user)}).sort("_id", 1).to_list(None)
        return [to_filter(document) for document in documents]

    async def get(self, user: str, identifier: str) -> Filter:
        """Raises: NotFound, Unavailable."""
        async with operation():
            document = await self._filters.find_one({"_id": object_id(identifier), "user": object_id(user)})
        if document is None:
            raise NotFound("This filter does not exist")
        return to_filter(document)

    async def number(self, user: str) -> int:
        """How many the account has. Raises: Unavailable."""
        async with operation():
            return await self._filters.count_documents({"user": object_id(user)})

    async def create(self, new: Filter, most: int, told: Told = nobody) -> str:
        """Its id. Raises: LimitReached: the account has `most` already; NotFound (it), Unavailable, CommitUnknown."""
        owner = object_id(new.user)
        document = {"_id": ObjectId(), "user": owner, "created": datetime.now(UTC), **_fields(new)}

        async def run(session: AsyncClientSession) -> None:
            # The mark also makes two that are created at the same moment count each other.
            marked = [{"$set": {"filtered": True, "changed": "$$NOW"}}]
            result = await self._users.update_one({"_id": owner}, marked, session=session)
            if not result.matched_count:
                raise NotFound(_NO_USER)
            if await self._filters.count_documents({"user": owner}, session=session) >= most:
                raise LimitReached("Maximum filters limit reached")
            await self._filters.insert_one(document, session=session)

        await self._transactions.run(run, lambda _: told(str(document["_id"])))
        return str(document["_id"])

    async def replace(self, changed: Filter, told: Sequence[Event] = ()) -> None:
        """Raises: NotFound, Unavailable, CommitUnknown."""
        query = {"_id": object_id(changed.id), "user": object_id(changed.user)}

        async def run(session: AsyncClientSession) -> None:
            result = await self._filters.update_one(query, {"$set": _fields(changed)}, session=session)
            if not result.matched_count:
                raise NotFound("This filter does not exist")

        await self._transactions.run(run, lambda _: told)

    async def delete(self, user: str, identifier: str, told: Sequence[Event] = ()) -> None:
        """Raises: NotFound, Unavailable, CommitUnknown."""
        query = {"_id": object_id(identifier), "user": object_id(user)}

        async def run(session: AsyncClientSession) -> None:
            result = await self._filters.delete_one(query, session=session)
            if not result.deleted_count:
                raise NotFound("This filter does not exist")

        await self._transactions.run(run, lambda _: told)

    async def list(self, forward: str, limit: int, after: str = "", before: str = "") -> FilterSlice:
        """Of all accounts, by ascending id; `forward`: part of a target."""
        narrowed: Document = {}
        if forward:
            # Protocols §10.1 H11: a literal, never a pattern.
            within = {"$gte": [{"$indexOfCP": ["$$this", {"$literal": forward}]}, 0]}
            targets = {"$map": {"input": {"$ifNull": ["$action.targets", []]}, "in": within}}
            narrowed = {"$expr": {"$anyElementTrue": [targets]}}
        page: Document = dict(narrowed)
        if before or after:
            page["_id"] = {"$lt": object_id(before)} if before else {"$gt": object_id(after)}
        async with operation():
            total = await self._filters.count_documents(narrowed, hint="_id_")
            documents = await self._filters.find(page).sort("_id", -1 if before else 1).limit(limit + 1).to_list(None)
        more = len(documents) > limit
        found = [to_filter(document) for document in documents[:limit]]
        if before:
            return FilterSlice(found[::-1], total, has_previous=more, has_next=True)
        return FilterSlice(found, total, has_previous=bool(after), has_next=more)


class Autoreplies:
    def __init__(self, database: Database, transactions: Transactions) -> None:
        self._autoreplies = database["autoreplies"]
        self._users = database["users"]
        self._transactions = transactions

    async def many(self, users: Sequence[str]) -> dict[str, Autoreply]:
        """By account; who has none is absent. Raises: Unavailable."""
        query = {"user": {"$in": [object_id(user) for user in users]}}
        async with operation():
            documents = await self._autoreplies.find(query).to_list(None)
        return {str(document["user"]): _to_autoreply(document) for document in documents}

    async def update(self, user: str, changes: Mapping[str, object], told: Sequence[Event] = ()) -> str:
        """Sets attributes by name, None takes one away; its id.

        Raises: NotFound: no such account; Unavailable, CommitUnknown.
        """
        owner = object_id(user)
        fresh = {key: value for key, value in asdict(Autoreply()).items() if value is not None}
        values = {key: value for key, value in changes.items() if value is not None}
        gone = {key: 1 for key, value in changes.items() if value is None}
        update: Document = {
            "$set": {**values, "created": datetime.now(UTC)},
            "$setOnInsert": {key: value for key, value in fresh.items() if key not in changes},
        }
        if gone:
            update["$unset"] = gone

        async def run(session: AsyncClientSession) -> ObjectId:
            document = await self._autoreplies.find_one_and_update(
                {"user": owner}, update, upsert=True, return_document=ReturnDocument.AFTER, session=session
            )
            if document is None:
                raise AssertionError("an upsert gives a document")
            await self._mark(owner, bool(document["status"]), session)
            identifier: ObjectId = document["_id"]
            return identifier

        return str(await self._transactions.run(run, lambda _: told))

    async def delete(self, user: str) -> None:
        """Raises: NotFound: no such account; Unavailable, CommitUnknown."""
        owner = object_id(user)

        async def run(session: AsyncClientSession) -> None:
            await self._autoreplies.delete_one({"user": owner}, session=session)
            await self._mark(owner, False, session)

        await self._transactions.run(run)

    async def _mark(self, owner: ObjectId, on: bool, session: AsyncClientSession) -> None:
        marked = [{"$set": {"autoreply": on, "changed": "$$NOW"}}]
        result = await self._users.update_one({"_id": owner}, marked, session=session)
        if not result.matched_count:
            raise NotFound("Unknown user")


def _to_autoreply(document: Document) -> Autoreply:
    names = {each.name for each in fields(Autoreply)}
    return Autoreply(**{key: value for key, value in document.items() if key in names})


class DomainAccess:
    """Domains whose mail accounts with a tag want, or do not want."""

    def __init__(self, database: Database) -> None:
        self._entries = database["domainaccess"]

    async def put(self, tag: str, domain: str, action: str) -> str:
        """Makes `domain` (normalised) one that is allowed or blocked for `tag`; its id. Raises: Unavailable."""
        query = {"tagview": tag.lower(), "domain": domain}
        async with operation():
            document = await self._entries.find_one_and_update(
                query, {"$set": {"tag": tag, "action": action}}, upsert=True, return_document=ReturnDocument.AFTER
            )
        if document is None:
            raise AssertionError("an upsert gives a document")
        return str(document["_id"])

    async def list(self, tag: str, action: str) -> list[DomainEntry]:
        """By domain. Raises: Unavailable."""
        async with operation():
            rows = await self._entries.find({"tagview": tag.lower(), "action": action}).sort("domain", 1).to_list(None)
        return [DomainEntry(str(row["_id"]), row["domain"], row["action"]) for row in rows]

    async def delete(self, identifier: str) -> bool:
        async with operation():
            result = await self._entries.delete_one({"_id": object_id(identifier)})
        return result.deleted_count > 0

    async def used(self, tags: Sequence[str]) -> set[str]:
        """Those of the tags, in lower case, for which there is any domain. Raises: Unavailable."""
        views = list({tag.lower() for tag in tags})
        async with operation():
            return set(await self._entries.distinct("tagview", {"tagview": {"$in": views}}))

    async def action(self, tags: Sequence[str], domain: str) -> str:
        """`allow`, `block`, which wins, or "". `tags`: in lower case. Raises: Unavailable."""
        query = {"tagview": {"$in": list(tags)}, "domain": domain}
        async with operation():
            rows = await self._entries.find(query, {"action": 1}).to_list(None)
        found = {row["action"] for row in rows}
        return "block" if "block" in found else "allow" if found else ""
