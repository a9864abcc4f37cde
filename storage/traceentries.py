"""What older versions wrote of the story of messages: a document for each entry, in `traces`. Read until it has ended,
which it does by itself; processes of an older version may write there as long as they run."""

from duckmail.model.trace import Step, TraceEntry, Wanted
from storage.mongo.client import Database, Document, object_id, operation

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("traces", [("keys", 1), ("at", 1), ("_id", 1)], {}),
    ("traces", [("user", 1), ("at", 1)], {}),
    ("traces", [("expires", 1)], {"expireAfterSeconds": 0}),
)
LATEST = [("at", -1), ("_id", -1)]


class TraceEntries:
    def __init__(self, database: Database) -> None:
        self._traces = database["traces"]

    async def find(self, wanted: Wanted, limit: int, user: str = "") -> list[TraceEntry]:
        """The latest, latest first. `user`: only what is this account's; "": all. Raises: Unavailable."""
        async with operation():
            documents = await self._traces.find(query_of(wanted, user)).sort(LATEST).limit(limit).to_list(None)
        return [_entry(document) for document in documents]


def query_of(wanted: Wanted, user: str) -> Document:
    query: Document = {"$and": [{"keys": {"$in": each}} for each in wanted.keys]}
    if user:
        query["user"] = object_id(user)
    bounds = {"$gte": wanted.after, "$lt": wanted.before}
    if at := {name: bound for name, bound in bounds.items() if bound is not None}:
        query["at"] = at
    return query


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
