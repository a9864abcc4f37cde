"""Tasks: one document each, worked on by one process at a time, under a lease as messages of the queue are.

A lease is a token that fences every write, and an end by the server's own clock (`$$NOW`). `due` says when a runner
looks at the task next: when it is to begin, or the end of the lease. A task that has ended has none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bson.int64 import Int64
from bson.objectid import ObjectId
from pymongo.errors import DuplicateKeyError

from duckmail.errors import DuckmailError, NotFound, Unavailable
from duckmail.model.task import Task, TaskState
from storage.mongo.client import Database, Document, object_id, operation

LEASE_MS = 60_000
KEPT_SECONDS = 7 * 86_400  # that a task at its end can still be looked at
RENEW_SECONDS = 10.0  # a renewal that takes longer is no renewal
LONGEST_ERROR = 500

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("tasks", [("due", 1)], {"partialFilterExpression": {"due": {"$exists": True}}}),
    ("tasks", [("key", 1)], {"unique": True, "partialFilterExpression": {"key": {"$exists": True}}}),
    ("tasks", [("ended", 1)], {"expireAfterSeconds": KEPT_SECONDS}),
)

_LEASE_END = {"$add": ["$$NOW", LEASE_MS]}
_UNLEASED: Document = {"$expr": {"$lte": ["$lease.until", "$$NOW"]}}  # without a lease too: missing is less than a date


class TaskLost(DuckmailError):
    """Another process has the task now: nothing was written."""

    default = "The task is not leased to this process any more"


@dataclass(frozen=True, slots=True)
class TaskClaim:
    """A task that this process alone works on. `token`: of its lease."""

    task: Task
    token: ObjectId


def new_document(
    kind: str,
    data: Mapping[str, object],
    *,
    user: str = "",
    due: datetime | None = None,
    key: str = "",
    identifier: ObjectId | None = None,
) -> Document:
    """A task, ready to insert. `key`: of two open tasks with the same one there is only the first."""
    now = datetime.now(UTC)
    document: Document = {
        "_id": identifier or ObjectId(),
        "kind": kind,
        "data": dict(data),
        "created": now,
        "due": due or now,
        "attempts": 0,
    }
    if user:
        document["user"] = object_id(user)
    if key:
        document["key"] = key
    return document


def to_task(document: Document) -> Task:
    user, runner, error = document.get("user"), document.get("lease", {}).get("runner", ""), document.get("error", "")
    state = TaskState.RUNNING if runner else TaskState.WAITING
    if "ended" in document:
        state = TaskState.FAILED if error else TaskState.DONE
    return Task(
        id=str(document["_id"]),
        kind=document["kind"],
        user=str(user) if user is not None else "",
        state=state,
        created=document["created"],
        due=document.get("due"),
        every=int(document.get("every", 0)),
        attempts=int(document["attempts"]),
        error=error,
        runner=runner,
        ended=document.get("ended"),
        data=document["data"],
        result=document.get("result", {}),
    )


class TaskRecords:
    def __init__(self, database: Database) -> None:
        self._tasks = database["tasks"]

    async def add(self, document: Document) -> str:
        """Of `new_document`; durable on return. Its id, or that of the open task with its key. Raises: Unavailable."""
        try:
            async with operation():
                await self._tasks.insert_one(document)
        except Unavailable as error:
            if not isinstance(error.__cause__, DuplicateKeyError):
                raise
            async with operation():
                found = await self._tasks.find_one({"key": document.get("key")}, {"_id": 1})
            if found is None:
                raise Unavailable(error="a task with the same key has just ended") from error
            return str(found["_id"])
        return str(document["_id"])

    async def ensure(self, kind: str, every: timedelta) -> None:
        """There is one task of this kind, that comes again `every` so long. Raises: Unavailable."""
        now = datetime.now(UTC)
        made: Document = {"kind": kind, "data": {}, "created": now, "due": now, "attempts": 0}
        update = {"$setOnInsert": made, "$set": {"every": Int64(every.total_seconds())}}
        try:
            async with operation():
                await self._tasks.update_one({"key": f"every:{kind}"}, update, upsert=True)
        except Unavailable as error:
            if not isinstance(error.__cause__, DuplicateKeyError):  # another process was as fast
                raise

    # -- the lease -------------------------------------------------------------------------------------------------

    async def begin(self, runner: str) -> None:
        """For a runner that starts: takes back what an earlier process of its name had leased. Raises: Unavailable."""
        leased = {"due": {"$exists": True}, "lease.runner": runner}
        async with operation():
            await self._tasks.update_many(leased, {"$set": {"due": datetime.now(UTC)}, "$unset": {"lease": 1}})

    async def claim(self, runner: str, most: int, kinds: Sequence[str]) -> list[TaskClaim]:
        """At most `most` tasks of `kinds` that are due, now leased to `runner`; the longest due first.

        Raises: Unavailable.
        """
        query = {"due": {"$lte": datetime.now(UTC)}, "kind": {"$in": list(kinds)}, **_UNLEASED}
        token = ObjectId()
        lease = {"runner": {"$literal": runner}, "token": token, "until": _LEASE_END}
        update = [{"$set": {"lease": lease, "due": _LEASE_END, "attempts": {"$add": ["$attempts", 1]}}}]
        async with operation():
            rows = await self._tasks.find(query, {"_id": 1}).sort("due", 1).limit(most).to_list(None)
            if not rows:
                return []
            # The condition is looked at again on each document as it is written: of two processes one gets it.
            ids = {"$in": [row["_id"] for row in rows]}
            await self._tasks.update_many({"_id": ids, **query}, update)
            documents = await self._tasks.find({"_id": ids, "lease.token": token}).to_list(None)
        return [TaskClaim(to_task(document), token) for document in documents]

    async def renew(self, claims: Sequence[TaskClaim]) -> set[str]:
        """Prolongs leases; the ids of the tasks that are still this process's. Raises: Unavailable."""
        query = _held_by(claims)
        async with operation(RENEW_SECONDS):
            await self._tasks.update_many(query, [{"$set": {"lease.until": _LEASE_END, "due": _LEASE_END}}])
            rows = await self._tasks.find(query, {"_id": 1}).to_list(None)
        return {str(row["_id"]) for row in rows}

    async def give_back(self, claims: Sequence[TaskClaim]) -> None:
        """Ends leases with nothing else done: they are due again. Raises: Unavailable."""
        if claims:
            update = {"$set": {"due": datetime.now(UTC)}, "$unset": {"lease": 1}, "$inc": {"attempts": -1}}
            async with operation(RENEW_SECONDS):
                await self._tasks.update_many(_held_by(claims), update)

    # -- results ---------------------------------------------------------------------------------------------------

    async def save(self, claim: TaskClaim, data: Mapping[str, object]) -> None:
        """How far it has come, for whoever goes on. Raises: TaskLost, Unavailable."""
        await self._write(claim, {"$set": {f"data.{name}": value for name, value in data.items()}})

    async def finish(self, claim: TaskClaim, result: Mapping[str, object]) -> None:
        """It has come to its end; one that comes again is due in its time. Raises: TaskLost, Unavailable."""
        now = datetime.now(UTC)
        if claim.task.every:
            again = now + timedelta(seconds=claim.task.every)
            update = {"$set": {"due": again, "attempts": 0, "result": result}, "$unset": {"lease": 1, "error": 1}}
        else:
            update = {"$set": {"ended": now, "result": result}, "$unset": _ENDED | {"error": 1}}
        await self._write(claim, update)

    async def put_off(self, claim: TaskClaim, error: str, due: datetime) -> None:
        """It failed, and is tried again when it is `due`. Raises: TaskLost, Unavailable."""
        await self._write(claim, {"$set": {"due": due, "error": error[:LONGEST_ERROR]}, "$unset": {"lease": 1}})

    async def fail(self, claim: TaskClaim, error: str) -> None:
        """It failed for good. Raises: TaskLost, Unavailable."""
        await self._write(
            claim, {"$set": {"ended": datetime.now(UTC), "error": error[:LONGEST_ERROR]}, "$unset": _ENDED}
        )

    async def _write(self, claim: TaskClaim, update: Document) -> None:
        query = {"_id": object_id(claim.task.id), "lease.token": claim.token}
        async with operation():
            result = await self._tasks.update_one(query, update)
        if not result.matched_count:
            raise TaskLost

    # -- by hand ---------------------------------------------------------------------------------------------------

    async def get(self, identifier: str) -> Task:
        """Raises: NotFound, Unavailable."""
        async with operation():
            document = await self._tasks.find_one({"_id": object_id(identifier)})
        if document is None:
            raise NotFound("No such task")
        return to_task(document)

    async def list(self, limit: int, before: str = "", *, ended: bool = True) -> list[Task]:
        """The newest `limit`, or those older than the task `before`; without `ended` only open ones.

        Raises: NotFound (not an id), Unavailable.
        """
        query: Document = {"_id": {"$lt": object_id(before)}} if before else {}
        if not ended:
            query["ended"] = {"$exists": False}
        async with operation():
            documents = await self._tasks.find(query).sort("_id", -1).limit(limit).to_list(None)
        return [to_task(document) for document in documents]

    async def hurry(self, identifier: str) -> None:
        """Makes an open task due now. Raises: NotFound, Unavailable."""
        query = {"_id": object_id(identifier), "due": {"$exists": True}}
        async with operation():
            result = await self._tasks.update_one(
                query, [{"$set": {"due": {"$cond": [{"$gt": ["$lease.until", "$$NOW"]}, "$due", "$$NOW"]}}}]
            )
        if not result.matched_count:
            raise NotFound("No such task, or it has ended")


_ENDED: Document = {"due": 1, "lease": 1, "key": 1}


def _held_by(claims: Sequence[TaskClaim]) -> Document:
    return {
        "_id": {"$in": [object_id(claim.task.id) for claim in claims]},
        "lease.token": {"$in": list({claim.token for claim in claims})},
    }
