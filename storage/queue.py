"""The outbound queue: one document per message, one state per recipient, worked on by one process at a time.

Who works on a message holds a lease: a token that fences every write, and an end by the server's own clock (`$$NOW`).
A process that dies is forgotten when its lease ends; one that was only slow can write nothing any more.

`due` says when a runner looks at the message next: the earliest time of its waiting recipients, or the end of the
lease. It is absent when there is nothing to do by itself: all recipients are final, or wait for a route (`stranded`).
"""

import contextlib
import random
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bson.binary import Binary
from bson.objectid import ObjectId
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from duckmail.errors import DuckmailError, InUse, NotFound
from duckmail.model.queue import QueuedMessage, QueueRecipient, State
from storage.endings import Endings
from storage.mongo.client import Database, Document, object_id, operation
from storage.mongo.transactions import Transactions
from storage.queuedocuments import from_recipient, to_message

LEASE_MS = 60_000
KEPT_SECONDS = 3 * 86_400  # that a message at its end can still be looked at
RENEW_SECONDS = 10.0  # a renewal that takes longer is no renewal
CANDIDATES = 4  # times as many messages as wanted are looked at: processes that look at once do not all want the same
PAGE = 100  # messages in one batch of a listing

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("queue", [("held", 1), ("due", 1)], {"partialFilterExpression": {"due": {"$exists": True}}}),
    ("queue", [("stranded", 1)], {"sparse": True}),
    ("queue", [("content", 1)], {"sparse": True}),
    ("queue", [("user", 1), ("key", 1)], {"unique": True, "partialFilterExpression": {"key": {"$exists": True}}}),
    ("queue", [("ended", 1)], {"expireAfterSeconds": KEPT_SECONDS}),
)

_LEASE_END = {"$add": ["$$NOW", LEASE_MS]}
# No lease at all counts as one that is over: what is missing is less than any date.
_UNLEASED: Document = {"$expr": {"$lte": ["$lease.until", "$$NOW"]}}
_OPEN: Document = {"ended": None}
_GROUP: Document = {
    "$switch": {
        "branches": [
            {"case": "$held", "then": "held"},
            {"case": {"$gt": ["$lease.until", "$$NOW"]}, "then": "sending"},
            {"case": {"$lte": [{"$ifNull": ["$due", datetime.max.replace(tzinfo=UTC)]}, "$$NOW"]}, "then": "due"},
        ],
        "default": "deferred",
    }
}


class LeaseLost(DuckmailError):
    """Another process has the message now: nothing was written."""

    default = "The message is not leased to this process any more"


@dataclass(frozen=True, slots=True)
class Claim:
    """A message that this process alone works on. `token`: of its lease."""

    message: QueuedMessage
    token: ObjectId


@dataclass(frozen=True, slots=True)
class Group:
    """Some open messages. `oldest`: when the oldest of them came."""

    messages: int
    oldest: datetime


class QueueRecords:
    def __init__(self, database: Database, transactions: Transactions) -> None:
        self._queue = database["queue"]
        self._transactions = transactions
        self._endings = Endings(self._queue)

    async def put(self, document: Document) -> str:
        """Inserts a message (`storage.queuedocuments.new_document`) whose content is in the database; its id.

        Raises: Unavailable, CommitUnknown.
        """

        async def body(session: AsyncClientSession) -> None:
            await self._queue.insert_one(document, session=session)

        await self._transactions.run(body)
        return str(document["_id"])

    async def of_user(self, user: str, ids: Sequence[str]) -> list[QueuedMessage]:
        """Those of `ids` that are the account's and not at their end. Raises: Unavailable."""
        wanted = [ObjectId(identifier) for identifier in ids if ObjectId.is_valid(identifier)]
        query = {"_id": {"$in": wanted}, "user": object_id(user), **_OPEN}
        async with operation():
            documents = await self._queue.find(query).sort("_id", 1).to_list(None)
        return [to_message(document) for document in documents]

    async def by_key(self, user: str, key: bytes) -> str | None:
        """The id of the message with this idempotence key. Raises: Unavailable."""
        query = {"user": object_id(user) if user else None, "key": Binary(key)}
        async with operation():
            found = await self._queue.find_one(query, {"_id": 1})
        return None if found is None else str(found["_id"])

    # -- the lease -------------------------------------------------------------------------------------------------

    async def begin(self, runner: str) -> None:
        """For a runner that starts: takes back what an earlier process of its name had leased, and makes what waits
        for a route due, since there may be one now.

        Raises: Unavailable.
        """
        now = datetime.now(UTC)
        async with operation():
            leased = {"held": {"$in": [False, True]}, "due": {"$exists": True}, "lease.runner": runner}
            await self._queue.update_many(leased, {"$set": {"due": now}, "$unset": {"lease": 1}})
            stranded = {"stranded": True, **_UNLEASED}
            await self._queue.update_many(stranded, {"$set": {"due": now}, "$unset": {"stranded": 1}})

    async def claim(self, runner: str, most: int) -> list[Claim]:
        """At most `most` messages that are due, now leased to `runner`; the longest due first. Raises: Unavailable."""
        query = {"held": False, "due": {"$lte": datetime.now(UTC)}, **_UNLEASED}
        async with operation():
            rows = await self._queue.find(query, {"_id": 1}).sort("due", 1).limit(most * CANDIDATES).to_list(None)
        ids = [row["_id"] for row in rows]
        if len(ids) > most:
            ids = random.sample(ids, most)
        return await self._claim(query, ids, runner)

    async def claim_one(self, identifier: str, runner: str) -> Claim:
        """One open message, whether or not it is due or held. Raises: NotFound, InUse, Unavailable."""
        claims = await self._claim({**_OPEN, **_UNLEASED}, [object_id(identifier)], runner)
        if claims:
            return claims[0]
        if (await self.get(identifier)).ended is not None:
            raise NotFound("The message is not in the queue any more")
        raise InUse("The message is being sent right now")

    async def _claim(self, query: Document, ids: Sequence[ObjectId], runner: str) -> list[Claim]:
        if not ids:
            return []
        token = ObjectId()
        lease = {"runner": {"$literal": runner}, "token": token, "until": _LEASE_END}
        async with operation():
            # The condition is looked at again on each document as it is written: of two processes one gets it.
            update = [{"$set": {"lease": lease, "due": _LEASE_END}}]
            result = await self._queue.update_many({"_id": {"$in": list(ids)}, **query}, update)
            if not result.modified_count:
                return []
            documents = await self._queue.find({"_id": {"$in": list(ids)}, "lease.token": token}).to_list(None)
        return [Claim(to_message(document), token) for document in documents]

    async def renew(self, claims: Sequence[Claim]) -> set[str]:
        """Prolongs leases; the ids of the messages that are still this process's. Raises: Unavailable."""
        query = _held_by(claims)
        async with operation(RENEW_SECONDS):
            await self._queue.update_many(query, [{"$set": {"lease.until": _LEASE_END, "due": _LEASE_END}}])
            rows = await self._queue.find(query, {"_id": 1}).to_list(None)
        return {str(row["_id"]) for row in rows}

    async def give_back(self, claims: Sequence[Claim], due: datetime | None = None) -> None:
        """Ends leases with nothing else done; `due`: when to look at them again, now when None. Raises: Unavailable."""
        if claims:
            update = {"$set": {"due": due or datetime.now(UTC)}, "$unset": {"lease": 1}}
            async with operation(RENEW_SECONDS):
                await self._queue.update_many(_held_by(claims), update)

    # -- results ---------------------------------------------------------------------------------------------------

    async def record(
        self, claim: Claim, changed: Mapping[int, QueueRecipient], reports: Sequence[Document] = ()
    ) -> None:
        """Writes recipients, by their position, and in the same commit puts `reports` into the queue. May be repeated.

        Raises: LeaseLost, Unavailable, CommitUnknown.
        """
        await self._write(claim, {"$set": _recipients(changed)}, reports)

    async def finish(
        self,
        claim: Claim,
        recipients: Sequence[QueueRecipient],
        changed: Iterable[int],
        reports: Sequence[Document] = (),
    ) -> None:
        """As `record`, and ends the lease. `recipients`: all of them, as they are now; `changed`: which to write."""
        waiting = [recipient for recipient in recipients if recipient.state is State.WAITING]
        times = [recipient.due for recipient in waiting if recipient.due is not None]
        written = _recipients({position: recipients[position] for position in changed})
        fields: Document = dict(written)
        gone = {"lease": 1}
        if times:
            fields["due"] = min(times)
        else:
            gone["due"] = 1
        if len(times) < len(waiting):
            fields["stranded"] = True
        else:
            gone["stranded"] = 1
        if not waiting:
            fields["ended"] = datetime.now(UTC)
            gone["content"] = 1
        update: Document = {"$unset": gone}
        if fields:
            update["$set"] = fields
        if reports:
            await self._write(claim, update, reports)
        elif not await self._endings.write(_mine(claim), update, written):
            raise LeaseLost

    async def _write(self, claim: Claim, update: Document, reports: Sequence[Document]) -> None:
        query = _mine(claim)
        if not reports:
            async with operation():
                result = await self._queue.update_one(query, update)
            if not result.matched_count:
                raise LeaseLost
            return

        async def body(session: AsyncClientSession) -> None:
            found = await self._queue.update_one(query, update, session=session)
            if not found.matched_count:
                raise LeaseLost
            for report in reports:
                await self._queue.insert_one(report, session=session)

        # The reports are in the queue: this was committed before, and only its answer was lost.
        with contextlib.suppress(DuplicateKeyError):
            await self._transactions.run(body)

    # -- by hand ---------------------------------------------------------------------------------------------------

    async def get(self, identifier: str) -> QueuedMessage:
        """Raises: NotFound, Unavailable."""
        async with operation():
            document = await self._queue.find_one({"_id": object_id(identifier)})
        if document is None:
            raise NotFound("No such message in the queue")
        return to_message(document)

    async def messages(self, *, ended: bool = False) -> AsyncIterator[QueuedMessage]:
        """All open messages, oldest first; with `ended` also those at their end. Raises: Unavailable."""
        last = ""
        while True:
            found = await self.page(PAGE, last, ended=ended)
            for message in found:
                yield message
            if len(found) < PAGE:
                return
            last = found[-1].id

    async def page(self, most: int, after: str = "", *, ended: bool = False) -> list[QueuedMessage]:
        """Some of them, behind `after`. Raises: NotFound (not an id), Unavailable."""
        query: Document = {} if ended else dict(_OPEN)
        if after:
            query["_id"] = {"$gt": object_id(after)}
        async with operation():
            documents = await self._queue.find(query).sort("_id", 1).limit(most).to_list(None)
        return [to_message(document) for document in documents]

    async def hold(self, identifier: str, held: bool) -> None:
        """Held messages are not looked at; an attempt under way comes to its end. Raises: NotFound, Unavailable."""
        async with operation():
            query = {"_id": object_id(identifier), **_OPEN}
            result = await self._queue.update_one(query, {"$set": {"held": held}})
        if not result.matched_count:
            raise NotFound("No such message in the queue")

    async def retry(self, identifier: str | None = None) -> int:
        """Makes all waiting recipients of a message, or of all messages, due now; how many messages. One that is being
        sent right now is left alone.

        Raises: NotFound (not an id), Unavailable.
        """
        query: Document = {**_OPEN, **_UNLEASED}
        if identifier is not None:
            query["_id"] = object_id(identifier)
        now = datetime.now(UTC)
        update = {"$set": {"recipients.$[waiting].due": now, "due": now}, "$unset": {"stranded": 1}}
        async with operation():
            result = await self._queue.update_many(
                query, update, array_filters=[{"waiting.state": State.WAITING.value}]
            )
        return result.matched_count

    async def census(self) -> dict[str, Group]:
        """The open messages by what becomes of them: `held`, `sending`, `due`, `deferred`. Raises: Unavailable."""
        pipeline: list[Document] = [
            {"$match": _OPEN},
            {"$group": {"_id": _GROUP, "messages": {"$sum": 1}, "oldest": {"$min": "$created"}}},
        ]
        async with operation():
            rows = await (await self._queue.aggregate(pipeline)).to_list(None)
        return {row["_id"]: Group(int(row["messages"]), row["oldest"]) for row in rows}


def _mine(claim: Claim) -> Document:
    user = claim.message.user
    query: Document = {"_id": object_id(claim.message.id), "user": object_id(user) if user else None}
    return {**query, "lease.token": claim.token}


def _held_by(claims: Sequence[Claim]) -> Document:
    return {
        "_id": {"$in": [object_id(claim.message.id) for claim in claims]},
        "lease.token": {"$in": list({claim.token for claim in claims})},
    }


def _recipients(changed: Mapping[int, QueueRecipient]) -> Document:
    return {f"recipients.{position}": from_recipient(each, each.due) for position, each in changed.items()}
