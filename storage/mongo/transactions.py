"""Write transactions on a fixed set of sessions, with our own retry and commit loops.

MongoDB keeps a dead client's transaction, and the locks on the documents it wrote, for a minute or more. So all write
transactions of a process use sessions whose ids stand in its lease (`storage.leases`) before their first use: whoever
finds the lease expired kills them at once. A session that something cut short in the middle (its caller vanished, the
connection broke) is killed too before anybody uses it again: what its transaction had locked is free within a second.

Not `with_transaction`: its loop retries for two minutes what will never succeed (a duplicate key).
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

import pymongo
from bson.binary import Binary
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import ConnectionFailure, DuplicateKeyError, ExecutionTimeout, PyMongoError
from pymongo.read_concern import ReadConcern

from duckmail.errors import CommitUnknown, TemporaryError, Unavailable
from duckmail.model.events import Event, nobody
from duckmail.runtime.tasks import Tasks
from storage.mongo import pipeline
from storage.mongo.client import MAJORITY, Client

log = logging.getLogger("duckmail.storage")

SESSIONS = 12
ATTEMPT_SECONDS = 10.0  # one attempt's operations; the server gives up a little later by itself
DEADLINE_SECONDS = 20.0  # all attempts together
COMMIT_SECONDS = 15.0
END_SECONDS = 5.0
KILL_ATTEMPTS = 60
FIRST_BACKOFF = 0.004
MAX_BACKOFF = 0.5

# Nobody knows what the server has seen of a transaction that ended so.
_CUT_SHORT = (ConnectionFailure, TemporaryError, asyncio.CancelledError)

T = TypeVar("T")
Body = Callable[[AsyncClientSession], Awaitable[T]]


def is_transient(error: BaseException) -> bool:
    """The same transaction may succeed if it is run again."""
    return isinstance(error, PyMongoError) and error.has_error_label("TransientTransactionError")


def backoff(attempt: int) -> float:
    """Seconds to wait before attempt number `attempt` (from 1): jittered and exponential, since two processes that
    retry a contested mailbox at once keep colliding."""
    return random.uniform(0.5, 1.0) * min(MAX_BACKOFF, FIRST_BACKOFF * 2.0**attempt)  # noqa: S311 -- no secret


class Outbox(Protocol):
    """Where events go that are part of a transaction."""

    woken: Callable[[], None]

    async def put(self, events: Sequence[Event], session: AsyncClientSession, /) -> bool:
        """Whether anybody wants them. Raises: PyMongoError."""
        ...


class Transactions:
    outbox: Outbox | None = None

    def __init__(self, client: Client, count: int = SESSIONS) -> None:
        self._client = client
        self._count = count
        self._idle: asyncio.LifoQueue[AsyncClientSession] = asyncio.LifoQueue()
        self._sessions: list[AsyncClientSession] = []
        self._tasks = Tasks("transactions")

    def start(self) -> list[Binary]:
        """Makes the sessions; returns their ids, to be recorded in the lease before `run` is called."""
        self._sessions = [self._client.start_session(causal_consistency=False) for _ in range(self._count)]
        for session in self._sessions:
            self._idle.put_nowait(session)
        return self.ids

    @property
    def ids(self) -> list[Binary]:
        """Of the sessions, as `kill` takes them."""
        return [session.session_id["id"] for session in self._sessions]

    async def aclose(self) -> bool:
        """Ends whatever is open; False when the server may still hold some of it."""
        await self._tasks.aclose()
        ended = await self.kill(self.ids)
        if ended:
            with pymongo.timeout(END_SECONDS):
                for session in self._sessions:
                    await session.end_session()
        return ended

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncClientSession]:
        """One of the sessions, for the caller alone. Raises: Unavailable after the deadline."""
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                session = await self._idle.get()
        except TimeoutError as error:
            raise Unavailable(error="no free session") from error
        cut_short = False
        try:
            yield session
        except _CUT_SHORT:
            cut_short = True
            raise
        finally:
            if cut_short or session.in_transaction:
                # A task of its own: the caller may be cancelled again and again, the session must come back.
                ending = self._tasks.start(self._end(session, cut_short), "end a transaction")
                if not cut_short:
                    await asyncio.shield(ending)
            else:
                self._idle.put_nowait(session)

    async def _end(self, session: AsyncClientSession, cut_short: bool) -> None:
        """Leaves nothing of the transaction on the server, then gives the session back."""
        if cut_short:  # Killed first: an abort may be lost too, and the driver would not say so.
            await self._kill_surely(session.session_id["id"])
        if session.in_transaction:
            await self._abort(session)
        self._idle.put_nowait(session)

    async def _kill_surely(self, session: Binary) -> None:
        """Until it worked; after that many tries the server's own limit on a transaction's life is over."""
        for _ in range(KILL_ATTEMPTS):
            if await self.kill([session]):
                return
            await asyncio.sleep(1)

    async def run(self, body: Body[T], told: Callable[[T], Sequence[Event]] = nobody) -> T:
        """Runs `body` in a transaction until it commits; for what does not go through the committer.

        Args:
            told: what is told of its result, in the same commit: whoever dies behind it has told it.

        Raises: whatever `body` raises, `DuplicateKeyError`, Unavailable (nothing changed), CommitUnknown.
        """
        wanted = False

        async def telling(session: AsyncClientSession) -> T:
            nonlocal wanted
            result = await body(session)
            if self.outbox is not None and (events := told(result)):
                wanted = await self.outbox.put(events, session)
            return result

        result = await self._run(telling)
        if self.outbox is not None and wanted:
            self.outbox.woken()
        return result

    async def _run(self, body: Body[T]) -> T:
        deadline = time.monotonic() + DEADLINE_SECONDS
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self.once(body)
            except DuplicateKeyError:
                raise
            except PyMongoError as error:
                if not is_transient(error) or time.monotonic() > deadline:
                    raise Unavailable(error=f"{type(error).__name__}: {str(error)[:300]}") from error
            await asyncio.sleep(backoff(attempt))

    async def once(self, body: Body[T]) -> T:
        """One attempt: `body` and its commit. Raises: PyMongoError of the body as it is; CommitUnknown."""
        async with self.session() as session:
            await session.start_transaction(read_concern=ReadConcern("snapshot"), write_concern=MAJORITY)
            with pymongo.timeout(ATTEMPT_SECONDS):
                result = await body(session)
            await self._commit(session)
            return result

    async def _commit(self, session: AsyncClientSession) -> None:
        """Commits, asking again while the outcome is unknown: the command is idempotent on the server."""
        deadline = time.monotonic() + COMMIT_SECONDS
        with pymongo.timeout(COMMIT_SECONDS):
            if await pipeline.commit(self._client, session, MAJORITY.document):
                return
        attempt = 0
        while True:
            attempt += 1
            try:
                with pymongo.timeout(max(1.0, deadline - time.monotonic())):
                    await session.commit_transaction()
                return
            except PyMongoError as error:
                unknown = error.has_error_label("UnknownTransactionCommitResult") or isinstance(
                    error, ConnectionFailure | ExecutionTimeout
                )
                if not unknown:
                    raise
                if time.monotonic() > deadline:
                    ended = await self.kill([session.session_id["id"]])
                    raise CommitUnknown(error=f"{type(error).__name__}: {str(error)[:300]}", ended=ended) from error
            await asyncio.sleep(backoff(attempt + 3))

    async def kill(self, sessions: Sequence[Binary]) -> bool:
        """Ends sessions on the server, with their open transactions. False when that failed, which is logged: the
        server's own limit on a transaction's life ends it later."""
        if not sessions:
            return True
        try:
            with pymongo.timeout(END_SECONDS):
                await self._client.admin.command("killSessions", [{"id": session} for session in sessions])
        except PyMongoError as error:
            log.warning("killSessions failed", extra={"fields": {"error": type(error).__name__}})
            return False
        return True

    async def _abort(self, session: AsyncClientSession) -> None:
        try:
            with pymongo.timeout(END_SECONDS):
                await session.abort_transaction()
        except PyMongoError as error:
            log.info("abort failed", extra={"fields": {"error": type(error).__name__}})
