"""What happened to messages: written in batches, found by its keys, gone when its time is over."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from bson.objectid import ObjectId

from duckmail.model.trace import Step, TraceEntry, Wanted
from storage.mongo import commands, pipeline
from storage.mongo.client import MAJORITY, Database, Document, object_id, operation

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("traces", [("keys", 1), ("at", 1), ("_id", 1)], {}),
    ("traces", [("user", 1), ("at", 1)], {}),
    ("traces", [("expires", 1)], {"expireAfterSeconds": 0}),
)

WRITE_SECONDS = 5.0


class Traces:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._traces = database["traces"]

    async def add(self, entries: Sequence[TraceEntry], kept: timedelta) -> None:
        """`entries` in the order in which it happened, their `id` is not looked at. Raises: Unavailable."""
        documents = [_document(entry, entry.at + kept) for entry in entries]
        async with operation(WRITE_SECONDS):
            await pipeline.run(self._database, [commands.insert_new("traces", documents, MAJORITY.document)])

    async def find(self, wanted: Wanted, limit: int, user: str = "") -> list[TraceEntry]:
        """The latest, in the order in which it happened. `user`: only what is this account's; "": all.

        Raises: Unavailable.
        """
        query = query_of(wanted, user)
        async with operation():
            documents = await self._traces.find(query).sort(LATEST).limit(limit).to_list(None)
        return [_entry(document) for document in reversed(documents)]


LATEST = [("at", -1), ("_id", -1)]


def query_of(wanted: Wanted, user: str) -> Document:
    query: Document = {"$and": [{"keys": {"$in": each}} for each in wanted.keys]}
    if user:
        query["user"] = object_id(user)
    bounds = {"$gte": wanted.after, "$lt": wanted.before}
    if at := {name: bound for name, bound in bounds.items() if bound is not None}:
        query["at"] = at
    return query


def _document(entry: TraceEntry, expires: datetime) -> Document:
    return {
        "_id": ObjectId(),
        "user": object_id(entry.user) if entry.user else None,
        "msgid": entry.message_id,
        "keys": list(entry.keys),
        "step": entry.step.value,
        "at": entry.at,
        "about": entry.about,
        "expires": expires,
    }


def _entry(document: Document) -> TraceEntry:
    user = document["user"]
    return TraceEntry(
        message_id=document["msgid"],
        user=str(user) if user is not None else "",
        step=Step(document["step"]),
        at=document["at"],
        about=document["about"],
        id=str(document["_id"]),
    )
