"""The authlog: what was tried with an account's credentials. Repeats within a bucket of time are one document."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from bson.int64 import Int64
from pymongo import ReturnDocument

from duckmail.errors import NotFound
from duckmail.model.credentials import AuthEvent, Trace
from storage.mongo.client import Database, Document, object_id, operation

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("authlog", [("user", 1), ("key", 1), ("bucket", 1)], {"unique": True}),
    ("authlog", [("user", 1), ("_id", -1)], {}),
    ("authlog", [("user", 1), ("action", 1), ("_id", -1)], {}),
    ("authlog", [("user", 1), ("ip", 1), ("_id", -1)], {}),
    ("authlog", [("expires", 1)], {"expireAfterSeconds": 0}),
)


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events, newest first; `total` counts all pages."""

    events: list[AuthEvent]
    total: int
    has_previous: bool
    has_next: bool


class AuthEvents:
    def __init__(self, database: Database) -> None:
        self._events = database["authlog"]

    async def add(self, user: str, event: AuthEvent, bucket: int) -> str:
        """Counts `event` to its like in `bucket`, or begins that; gives its id. `id`, `events`: not looked at."""
        first: Document = {
            "action": event.action,
            "protocol": event.protocol,
            "ip": event.trace.ip,
            "sess": event.trace.sess,
            "app": event.trace.app,
            "result": event.result,
            "created": event.created,
            "about": event.about,
        }
        update = {
            "$setOnInsert": first,
            "$set": {"last": event.last, "expires": event.expires},
            "$inc": {"events": Int64(1)},
        }
        async with operation(10):
            document: Document | None = await self._events.find_one_and_update(
                {"user": object_id(user), "key": event.key, "bucket": bucket},
                update,
                projection={"_id": 1},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        if document is None:
            raise AssertionError("an upsert gave nothing")
        return str(document["_id"])

    async def list(
        self, user: str, narrowed: Mapping[str, str], limit: int, after: str = "", before: str = ""
    ) -> EventPage:
        """`narrowed`: values of `action` and `ip`. Behind the event `after`, or ahead of `before`, in the listing."""
        query: Document = {"user": object_id(user), **narrowed}
        page = dict(query)
        if before or after:
            page["_id"] = {"$gt": object_id(before)} if before else {"$lt": object_id(after)}
        async with operation():
            total = await self._events.count_documents(query)
            cursor = self._events.find(page).sort("_id", 1 if before else -1).limit(limit + 1)
            documents = await cursor.to_list(None)
        more = len(documents) > limit
        found = [_event(document) for document in documents[:limit]]
        if before:
            return EventPage(found[::-1], total, has_previous=more, has_next=True)
        return EventPage(found, total, has_previous=bool(after), has_next=more)

    async def get(self, user: str, event: str) -> AuthEvent:
        """Raises: NotFound, Unavailable."""
        async with operation():
            document = await self._events.find_one({"_id": object_id(event), "user": object_id(user)})
        if document is None:
            raise NotFound("Event was not found")
        return _event(document)


def _event(document: Document) -> AuthEvent:
    created: datetime = document["created"]
    return AuthEvent(
        id=str(document["_id"]),
        key=document["key"],
        action=document["action"],
        result=document["result"],
        trace=Trace(document["ip"], document["sess"], document["app"]),
        protocol=document["protocol"],
        created=created,
        last=document["last"],
        expires=document["expires"],
        events=int(document["events"]),
        about=document["about"],
    )
