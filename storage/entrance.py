"""The way into the outbound queue: messages that come together are committed together.

What comes while a commit is under way goes with the next one: alone, a message waits for nothing; among many, each
costs a fraction of a commit. A message and its content are one commit (see `Contents.insertions`).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import BulkWriteError
from pymongo.read_concern import ReadConcern

from duckmail.errors import CommitUnknown, DuckmailError, Unavailable
from duckmail.runtime.tasks import Tasks
from storage.audits import copy_queued
from storage.contents.contents import Contents
from storage.contents.prepared import PreparedContent
from storage.mongo import commands, pipeline
from storage.mongo.client import Database, Document, operation
from storage.mongo.transactions import Transactions
from storage.queue import QueueRecords

TOGETHER = 100  # messages in one commit
OCTETS = 4 * 1024 * 1024  # of their documents
IN_FLIGHT = 2
BESIDE = 32  # messages that wait, from which a second commit begins beside the first: few in each cost more
WAITING = 10_000
LARGEST_CONTENT = 1_280 * 1024  # octets that a contents document holds inline at most
FIELDS = 256  # octets of a recipient
LOOK_SECONDS = 10.0


@dataclass(slots=True, eq=False)
class _Item:
    document: Document
    content: PreparedContent
    future: asyncio.Future[str]

    @property
    def octets(self) -> int:
        return min(self.content.size, LARGEST_CONTENT) + len(self.document["recipients"]) * FIELDS


class Entrance:
    def __init__(
        self, database: Database, transactions: Transactions, contents: Contents, records: QueueRecords, tasks: Tasks
    ) -> None:
        self._database = database
        self._transactions = transactions
        self._contents = contents
        self._records = records
        self._tasks = tasks
        self._items: list[_Item] = []
        self._in_flight = 0

    async def put(self, document: Document, content: PreparedContent) -> str:
        """Puts a message (`storage.queuedocuments.new_document`) with its content into the queue, durably; its id, or
        that of the message that has its key already.

        Raises: Unavailable: it is not in the queue. CommitUnknown: nobody knows.
        """
        if len(self._items) >= WAITING or self._tasks.closed:
            raise Unavailable(error="too many messages wait for the queue")
        item = _Item(document, content, asyncio.get_running_loop().create_future())
        item.future.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._items.append(item)
        self._pump()
        # A client that vanishes meanwhile does not take back what may already be committing.
        return await asyncio.shield(item.future)

    def _pump(self) -> None:
        while self._items and self._room and not self._tasks.closed:
            self._in_flight += 1
            self._tasks.start(self._carry_out(self._next()), "queue")
        if self._tasks.closed:
            self._fail(self._items, Unavailable(error="the process ends"))
            self._items = []

    @property
    def _room(self) -> bool:
        """Whether a commit is to begin now."""
        return not self._in_flight or (self._in_flight < IN_FLIGHT and len(self._items) >= BESIDE)

    def _next(self) -> list[_Item]:
        count = octets = 0
        # On a sharded cluster one transaction stays on the shard of one user.
        user = self._items[0].document["user"] if self._contents.sharded else None
        for item in self._items[:TOGETHER]:
            octets += item.octets
            if count and (octets > OCTETS or (self._contents.sharded and item.document["user"] != user)):
                break
            count += 1
        group, self._items = self._items[:count], self._items[count:]
        return group

    async def _carry_out(self, group: list[_Item]) -> None:
        try:
            try:
                await self._together(group)
            except CommitUnknown as error:
                self._fail(group, error)
            except Exception:  # whatever is wrong with one of them is not the others' fault
                await asyncio.gather(*(self._alone(item) for item in group))
        except BaseException as error:
            self._fail(group, CommitUnknown(error=type(error).__name__))  # perhaps in the middle of a commit
            raise
        finally:
            self._in_flight -= 1
            self._pump()

    async def _alone(self, item: _Item) -> None:
        try:
            await self._together([item])
        except DuckmailError as error:
            if _is_duplicate(error) and "key" in item.document:
                await self._known(item)
            else:
                self._fail([item], error)
        except Exception as error:  # as of a document that cannot be encoded
            self._fail([item], Unavailable(error=f"{type(error).__name__}: {str(error)[:300]}"))

    async def _known(self, item: _Item) -> None:
        user = item.document["user"]
        try:
            found = await self._records.by_key(str(user) if user else "", item.document["key"])
        except DuckmailError as error:
            self._fail([item], error)
            return
        if found is None:
            self._fail([item], Unavailable(error="a message with the same key has just gone"))
        elif not item.future.done():
            item.future.set_result(found)

    async def _together(self, group: Sequence[_Item]) -> None:
        """One transaction. Raises: Unavailable, CommitUnknown."""

        async def body(session: AsyncClientSession) -> None:
            queued = [item.document for item in group]
            unique = {item.content.id: item.content for item in group if not item.content.inserted}
            await self._contents.keep(unique.values())
            insertions = [commands.insert("queue", queued, session), *self._contents.insertions(list(unique.values()))]
            await pipeline.run(self._database, insertions)
            await copy_queued(self._database, queued, session)

        try:
            await self._transactions.run(body)
        except CommitUnknown as unknown:
            if not unknown.fields.get("ended") or not await self._landed(group[0]):
                raise
        for item in group:
            item.content.inserted = True
            if not item.future.done():
                item.future.set_result(str(item.document["_id"]))

    async def _landed(self, item: _Item) -> bool:
        """After an unknown commit whose session was ended: did it happen?

        Raises: Unavailable: it certainly did not.
        """
        surely = self._database["queue"].with_options(read_concern=ReadConcern("linearizable"))
        query = {"_id": item.document["_id"], "user": item.document["user"]}
        try:
            async with operation(LOOK_SECONDS):
                if await surely.find_one(query, {"_id": 1}) is not None:
                    return True
        except Unavailable:
            return False
        raise Unavailable(error="commit did not happen")

    @staticmethod
    def _fail(items: Sequence[_Item], error: DuckmailError) -> None:
        for item in items:
            if not item.future.done():
                item.future.set_exception(error)


def _is_duplicate(error: DuckmailError) -> bool:
    cause = error.__cause__
    if not isinstance(cause, BulkWriteError):
        return False
    return any(each["code"] == commands.DUPLICATE_KEY for each in cause.details["writeErrors"])
