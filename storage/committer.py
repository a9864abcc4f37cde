"""The committer: the one way in which mailboxes change.

Every mailbox has one FIFO per process; a change waits in the FIFOs of all its mailboxes. Appends at the heads of many
FIFOs commit together in one transaction (a group: at most 64 mailboxes, 1,000 messages, 4 MB, and half of what is there
to do); any other change is a transaction of its own. Several disjoint groups are in flight. After the commit the next
group begins; then: answer, and then publish.

A group that conflicts is run again once, then its mailboxes go on alone with jittered back-off, so that one contested
mailbox delays nobody else. After an error that is not transient the group is run again item by item.
"""

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError
from pymongo.read_concern import ReadConcern

from duckmail.errors import CommitUnknown, DuckmailError, Unavailable
from duckmail.model.message import Appended
from duckmail.runtime import metrics
from duckmail.runtime.tasks import Tasks
from storage.changes.append import Append, AppendGroup, Outdated, Rejected
from storage.changes.base import Change, Key, Outcome, Tx
from storage.changes.remembered import Remembered
from storage.contents.contents import Contents
from storage.groups import Flight, Group, Item
from storage.mongo.client import Database, operation
from storage.mongo.transactions import DEADLINE_SECONDS, Transactions, backoff, is_transient
from storage.viewcache import ViewCache
from storage.views import Delta

log = logging.getLogger("duckmail.storage")

IN_FLIGHT = 4
BESIDE = 32  # mailboxes that wait before another group of appends starts beside the ones in flight
QUEUE_LIMIT = 20_000

Publish = Callable[[Delta], None]


class _Alone:
    """Changes that are not appends, in one transaction."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self._changes = changes

    async def apply(self, tx: Tx) -> list[Outcome]:
        return [await change.apply(tx) for change in self._changes]

    def committed(self) -> None:
        """Nothing waits to be told."""


class _NothingToDo(Exception):
    """Leaves a transaction without a commit: the change found that it changes nothing."""

    def __init__(self, outcomes: list[Outcome]) -> None:
        self.outcomes = outcomes
        super().__init__()


class Committer:
    def __init__(
        self, database: Database, transactions: Transactions, views: ViewCache, contents: Contents, tasks: Tasks
    ) -> None:
        self._database = database
        self._transactions = transactions
        self._views = views
        self._contents = contents
        self._remembered = Remembered()
        self._tasks = tasks
        self._queues: dict[Key, deque[Item]] = {}
        self._ready: OrderedDict[Key, None] = OrderedDict()  # mailboxes with a queue and nothing in flight
        self._busy: set[Key] = set()
        self._flights: set[Flight] = set()
        self._waiting = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False
        self.publish: Publish = lambda _delta: None
        self.mix_users = True  # False on a sharded cluster: a transaction then stays on one user's shard

    async def submit(self, change: Change) -> Any:  # noqa: ANN401 -- each change says what its result is
        """Carries out `change`; its result once it is durable.

        Raises: DuckmailError of the change, Unavailable (nothing changed), CommitUnknown.
        """
        if self._closed or self._waiting >= QUEUE_LIMIT:
            raise Unavailable(error="committer queue is closed or full")
        item = Item(change, asyncio.get_running_loop().create_future())
        item.future.add_done_callback(self._answered)
        for key in change.keys:
            self._queues.setdefault(key, deque()).append(item)
            if key not in self._busy:
                self._ready[key] = None
        self._idle.clear()
        self._waiting += 1
        self._pump()
        # A client that vanishes meanwhile does not take back what may already be committing.
        return await asyncio.shield(item.future)

    def _answered(self, future: asyncio.Future[Any]) -> None:
        self._waiting -= 1
        if not future.cancelled():
            future.exception()  # seen, whether or not somebody still waits

    @property
    def waiting(self) -> int:
        """Changes that wait or are being carried out."""
        return self._waiting

    async def drain(self, seconds: float) -> bool:
        """Takes no more, and waits until nothing is queued or in flight; False when `seconds` were not enough."""
        self._closed = True
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    # -- scheduling ------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        if self._tasks.closed:  # the process ends: nobody will carry out what has not begun
            for key in self._ready:
                _fail(self._queues.pop(key), Unavailable(error="the process ends"))
            self._ready.clear()
        while len(self._flights) < IN_FLIGHT and (items := self._next()):
            flight = Flight(items)
            for key in flight.keys:
                self._ready.pop(key, None)
                self._busy.add(key)
            self._flights.add(flight)
            self._tasks.start(self._carry_out(flight), "commit")
        if not self._queues:
            self._idle.set()

    def _next(self) -> list[Item]:
        """The next group of appends, or one other change; empty when nothing can start."""
        # Half of it: while that is committed the other half is received and analysed, and neither waits for the other.
        # The `_waiting` are also those of the group that has just ended: its clients are about to send their next.
        group = Group((self._waiting + 1) // 2)
        # A transaction for each append as it comes costs twice as much processor time as a group of sixteen.
        gather = any(flight.gathering for flight in self._flights) and len(self._ready) < BESIDE
        for key in self._ready:
            head = self._queues[key][0]
            if not isinstance(head.change, Append):
                if not group.items and self._can_start(head):
                    return [head]
            elif not gather and (self.mix_users or not group.items or key.user == group.items[0].change.keys[0].user):
                group.take(self._queues[key])
                if group.full:
                    break
        return group.items

    def _can_start(self, item: Item) -> bool:
        return all(key not in self._busy and self._queues[key][0] is item for key in item.change.keys)

    async def _carry_out(self, flight: Flight) -> None:
        items = flight.items
        try:
            now = time.monotonic()
            _fail([item for item in items if item.expires < now], Unavailable(error="waited too long for its turn"))
            await self._group(flight)
        except DuckmailError as error:
            _fail(items, error)
        except BaseException as error:
            _fail(items, CommitUnknown(error=type(error).__name__))  # cancelled, perhaps in the middle of a commit
            raise
        finally:
            self._land(flight)

    def _land(self, flight: Flight | None) -> None:
        """Its mailboxes are free for what comes next, which begins. A second time there is nothing to do."""
        if flight is None or flight not in self._flights:
            return
        self._flights.remove(flight)
        done = set(map(id, flight.items))
        for key in flight.keys:
            queue = self._queues[key]
            while queue and id(queue[0]) in done:
                queue.popleft()
            self._busy.discard(key)
            if queue:
                self._ready[key] = None
            else:
                del self._queues[key]
        self._pump()

    # -- committing ------------------------------------------------------------------------------------------------

    async def _group(self, flight: Flight) -> None:
        """One group: at once, once more after a conflict, then mailbox by mailbox or item by item."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        pending = [item for item in flight.items if not item.future.done()]
        for attempt in (1, 2):
            if not pending:
                return
            try:
                pending = await self._attempt(pending, flight)
            except DuckmailError:
                raise
            except Exception as error:
                _count_failure(error)
                flight.gathering = False  # a group that is in trouble holds the others back no longer
                self._pump()
                if not is_transient(error):
                    await self._one_by_one([[item] for item in pending], error, deadline)
                    return
                await asyncio.sleep(backoff(attempt))
        by_mailbox: dict[tuple[Key, ...], list[Item]] = {}
        for item in pending:
            by_mailbox.setdefault(item.change.keys, []).append(item)
        await self._one_by_one(list(by_mailbox.values()), None, deadline)

    async def _one_by_one(self, units: Sequence[list[Item]], error: Exception | None, deadline: float) -> None:
        """Each unit alone; the ones of one mailbox in their order, different mailboxes beside each other."""
        lanes: dict[tuple[Key, ...], list[list[Item]]] = {}
        for unit in units:
            lanes.setdefault(unit[0].change.keys, []).append(unit)
        async with asyncio.TaskGroup() as tasks:
            for lane in lanes.values():
                tasks.create_task(self._lane(lane, error, deadline))

    async def _lane(self, units: Sequence[list[Item]], error: Exception | None, deadline: float) -> None:
        for unit in units:
            try:
                await self._persist(unit, error, deadline)
            except DuckmailError as failure:
                _fail(unit, failure)
            except Exception as failure:
                # Something in the change itself: the others in its group are not to suffer from it.
                log.exception("a change cannot be carried out")
                _fail(unit, Unavailable(error=type(failure).__name__))

    async def _persist(self, unit: list[Item], error: Exception | None, deadline: float) -> None:
        """Tries until the deadline. `error`: what the unit has failed with already.

        Raises: Unavailable, CommitUnknown.
        """
        attempt = 0
        while unit:
            attempt += 1
            if isinstance(error, DuplicateKeyError | BulkWriteError) and await self._known_deliveries(unit):
                unit = [item for item in unit if not item.future.done()]
                error = None
                continue
            if time.monotonic() > deadline or (error is not None and attempt > 3 and not is_transient(error)):
                raise Unavailable(error=f"{type(error).__name__}: {str(error)[:300]}")
            try:
                unit = await self._attempt(unit)
                error = None
            except PyMongoError as failure:
                _count_failure(failure)
                error = failure
                await asyncio.sleep(backoff(attempt))

    async def _attempt(self, items: list[Item], flight: Flight | None = None) -> list[Item]:
        """One transaction over `items`; those still to do (empty after a commit).

        `flight`: what they are all that is left of.

        Raises: PyMongoError.
        """
        outcomes: list[Outcome] = []
        applying = self._applying(items)
        began = time.monotonic()

        async def body(session: AsyncClientSession) -> None:
            outcomes[:] = await applying.apply(Tx(session, self._database, self._views))
            if not any(outcome.commit for outcome in outcomes):
                raise _NothingToDo(outcomes)

        try:
            try:
                await self._transactions.once(body)
            except Outdated:
                metrics.COMMITS["outdated"].inc()
                await self._transactions.once(body)
            _count_commit(len(items), time.monotonic() - began)
        except _NothingToDo:
            metrics.COMMITS["empty"].inc()
        except Rejected as rejected:
            metrics.COMMITS["rejected"].inc()
            for item in items:
                if isinstance(item.change, Append) and item.change in rejected.errors:
                    item.fail(rejected.errors[item.change])
            return [item for item in items if not item.future.done()]
        except CommitUnknown as unknown:
            metrics.COMMITS["unknown"].inc()
            if not unknown.fields.get("ended") or not await self._landed(items):
                raise
        applying.committed()
        self._land(flight)  # before the answers: while they are written, MongoDB has work
        self._finish(items, outcomes)
        return []

    def _applying(self, items: Sequence[Item]) -> "AppendGroup | _Alone":
        appends = [item.change for item in items if isinstance(item.change, Append)]
        if appends:
            return AppendGroup(appends, self._contents, self._remembered)
        for item in items:
            for key in item.change.keys:
                self._remembered.forget(key.mailbox)
        return _Alone([item.change for item in items])

    def _finish(self, items: Sequence[Item], outcomes: Sequence[Outcome]) -> None:
        for item, outcome in zip(items, outcomes, strict=True):
            item.succeed(outcome.result)
        for outcome in outcomes:
            for delta in outcome.deltas:
                self._views.committed(delta)
                self.publish(delta)

    async def _landed(self, items: Sequence[Item]) -> bool:
        """After an unknown commit whose session was ended: did it happen? False: it stays unknown, since only
        appends can be looked up.

        Raises: Unavailable when it certainly did not happen.
        """
        appends = [item.change for item in items if isinstance(item.change, Append)]
        if not appends:
            return False
        majority = self._database["messages"].with_options(read_concern=ReadConcern("linearizable"))
        try:
            async with operation(10):
                if await majority.find_one({"_id": appends[0].ids[0], "user": appends[0].keys[0].user}, {"_id": 1}):
                    return True
        except Unavailable:
            return False
        raise Unavailable(error="commit did not happen")

    async def _known_deliveries(self, items: Sequence[Item]) -> bool:
        """Answers the appends whose delivery was stored before; True when there were any."""
        known = False
        for item in items:
            change = item.change
            if isinstance(change, Append) and (found := await self._delivered(change)):
                item.succeed(found)
                known = True
        return known

    async def _delivered(self, append: Append) -> list[Appended] | None:
        keys = [new.delivery_key for new, _ in append.messages if new.delivery_key is not None]
        if not keys:
            return None
        query = {"_id": {"$in": keys}, "user": append.key.user}
        async with operation():
            rows = await self._database["deliveries"].find(query).to_list(None)
        if not rows:
            return None
        return [
            Appended(str(row["mailbox"]), int(row["uidvalidity"]), int(row["uid"]), str(row["message"]), duplicate=True)
            for row in rows
        ]


def _count_commit(changes: int, seconds: float) -> None:
    metrics.COMMITS["committed"].inc()
    metrics.COMMIT_CHANGES.observe(changes)
    metrics.COMMIT_SECONDS.observe(seconds)


def _count_failure(error: Exception) -> None:
    metrics.COMMITS["conflict" if is_transient(error) else "failed"].inc()


def _fail(items: Iterable[Item], error: DuckmailError) -> None:
    for item in items:
        item.fail(error)
