"""Webhooks, and what is to be posted to them: one document per event and webhook.

What changes by a transaction puts its events into it (`Outbox`): there is no moment at which one is without the other.
A job is due at a time. Who takes it moves that time behind the longest that a post can last, under a token: a process
that dies is forgotten when the time comes, and one that was only slow finishes nothing any more.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from bson.objectid import ObjectId
from pymongo import ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession

from duckmail.model.events import Event
from storage.mongo.client import Database, Document, object_id, operation

TAKEN = timedelta(seconds=60)  # longer than a post can last
KEPT_SECONDS = 86_400  # whatever becomes of a job
MOST_MATCHING = 1000  # webhooks that one event goes to

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("webhooks", [("type", 1), ("user", 1)], {}),
    ("webhooks", [("user", 1)], {}),
    ("webhookjobs", [("due", 1)], {}),
    ("webhookjobs", [("hook", 1)], {}),
    ("webhookjobs", [("created", 1)], {"expireAfterSeconds": KEPT_SECONDS}),
)


@dataclass(frozen=True, slots=True)
class Webhook:
    """`user`: "" for those of the server. `url`: its password is sealed."""

    id: str
    type: tuple[str, ...]
    user: str
    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class WebhookSlice:
    webhooks: list[Webhook]
    total: int
    has_previous: bool
    has_next: bool


@dataclass(frozen=True, slots=True)
class WebhookJob:
    """`attempts`: with this one. `token`: of who has it."""

    id: ObjectId
    hook: str
    body: Mapping[str, Any] = field(repr=False)
    attempts: int
    token: ObjectId


def _nothing() -> None:
    pass


class Outbox:
    """Events on their way to the webhooks that want them. One statement where nobody does."""

    def __init__(self, database: Database) -> None:
        self._hooks = database["webhooks"]
        self._jobs = database["webhookjobs"]
        self.woken: Callable[[], None] = _nothing  # called when there is something to post

    async def matching(self, types: Sequence[str], user: str, session: AsyncClientSession | None = None) -> list[str]:
        """Ids of those for one of these types. `user`: those of other accounts are left out; "" for all accounts'.

        Raises: PyMongoError.
        """
        query: Document = {"type": {"$in": list(types)}}
        if user:
            query["user"] = {"$in": [None, object_id(user)]}
        found = self._hooks.find(query, {"_id": 1}, session=session).limit(MOST_MATCHING)
        return [str(row["_id"]) for row in await found.to_list(None)]

    async def put(self, events: Sequence[Event], session: AsyncClientSession | None = None) -> bool:
        """Whether anybody wants them. `session`: of the transaction that makes them true. Raises: PyMongoError."""
        hooks: dict[tuple[tuple[str, ...], str], list[str]] = {}
        jobs: list[Document] = []
        for event in events:
            key = event.types, event.user
            if key not in hooks:
                hooks[key] = await self.matching(*key, session)
            jobs += _jobs(hooks[key], event)
        if jobs:
            await self._jobs.insert_many(jobs, session=session)
        return bool(jobs)


def _jobs(hooks: Sequence[str], event: Event) -> list[Document]:
    """Each of the webhooks gets the event with an id of its own."""
    now, identifier, body = datetime.now(UTC), ObjectId(), event.body()
    return [
        {"hook": object_id(hook), "body": {"id": f"{identifier}:{number}", **body}, "attempts": 0, "due": now,
         "created": now}
        for number, hook in enumerate(hooks, 1)
    ]  # fmt: skip


class Webhooks:
    def __init__(self, database: Database) -> None:
        self._hooks = database["webhooks"]
        self._jobs = database["webhookjobs"]
        self.outbox = Outbox(database)

    async def create(self, types: Sequence[str], user: str, url: str) -> str:
        """Its id. Raises: Unavailable."""
        owner = object_id(user) if user else None
        document = {
            "_id": ObjectId(), "type": list(types), "user": owner, "url": url, "created": datetime.now(UTC)
        }  # fmt: skip
        async with operation():
            await self._hooks.insert_one(document)
        return str(document["_id"])

    async def get(self, hook: str) -> Webhook | None:
        async with operation():
            document = await self._hooks.find_one({"_id": object_id(hook)})
        return _to_webhook(document) if document is not None else None

    async def delete(self, hook: str) -> bool:
        """With what is to be posted to it; whether it was there. Raises: Unavailable."""
        identifier = object_id(hook)
        async with operation():
            result = await self._hooks.delete_one({"_id": identifier})
            await self._jobs.delete_many({"hook": identifier})
        return bool(result.deleted_count)

    async def list(self, kind: str, user: str, limit: int, after: str = "", before: str = "") -> WebhookSlice:
        """By ascending id. `kind`, `user`: "" for all. Raises: Unavailable."""
        narrowed: Document = {**({"type": kind} if kind else {}), **({"user": object_id(user)} if user else {})}
        page = dict(narrowed)
        if before or after:
            page["_id"] = {"$lt": object_id(before)} if before else {"$gt": object_id(after)}
        async with operation():
            total = await self._hooks.count_documents(narrowed)
            documents = await self._hooks.find(page).sort("_id", -1 if before else 1).limit(limit + 1).to_list(None)
        more = len(documents) > limit
        found = [_to_webhook(document) for document in documents[:limit]]
        if before:
            return WebhookSlice(found[::-1], total, has_previous=more, has_next=True)
        return WebhookSlice(found, total, has_previous=bool(after), has_next=more)

    # -- jobs ------------------------------------------------------------------------------------------------------

    async def tell(self, event: Event) -> None:
        """Of a change that is made. Raises: Unavailable."""
        async with operation():
            wanted = await self.outbox.put([event])
        if wanted:
            self.outbox.woken()

    async def claim(self, busy: Sequence[str]) -> WebhookJob | None:
        """What is due first, but for webhooks that are `busy`; None for nothing. Raises: Unavailable."""
        now, token = datetime.now(UTC), ObjectId()
        query: Document = {"due": {"$lte": now}}
        if busy:
            query["hook"] = {"$nin": [object_id(hook) for hook in busy]}
        update: Document = {"$set": {"due": now + TAKEN, "token": token}, "$inc": {"attempts": 1}}
        async with operation():
            found = await self._jobs.find_one_and_update(
                query, update, sort=[("due", 1)], return_document=ReturnDocument.AFTER
            )
        if found is None:
            return None
        return WebhookJob(found["_id"], str(found["hook"]), found["body"], int(found["attempts"]), token)

    async def done(self, job: WebhookJob) -> None:
        """Raises: Unavailable."""
        async with operation():
            await self._jobs.delete_one({"_id": job.id, "token": job.token})

    async def put_off(self, job: WebhookJob, wait: timedelta) -> None:
        """Raises: Unavailable."""
        async with operation():
            update = {"$set": {"due": datetime.now(UTC) + wait}}
            await self._jobs.update_one({"_id": job.id, "token": job.token}, update)


def _to_webhook(document: Document) -> Webhook:
    return Webhook(
        id=str(document["_id"]),
        type=tuple(document["type"]),
        user=str(document["user"]) if document["user"] else "",
        url=document["url"],
    )
