"""Both embedded servers of one data folder: held, watched, restarted."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from duckmail.runtime.log import event
from duckmail.runtime.tasks import Tasks
from storage.embedded.folders import DataLock, make_socket_folder, socket_folder
from storage.embedded.mongod import Mongod
from storage.embedded.mongod import uri_of as mongo_uri_of
from storage.embedded.valkey import Valkey
from storage.embedded.valkey import url_of as redis_url_of

logger = logging.getLogger("duckmail.embedded")

WATCH_SECONDS = 0.1
LOG_CHECK_SECONDS = 60.0
# Between two starts of a server that keeps dying.
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
HEALTHY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the servers listen: a MongoDB URI and a Redis URL, both without credentials."""

    mongo_uri: str
    redis_url: str


class Embedded:
    """The embedded servers of `data`, ours while the context is open.

    Entering starts what `mongod` and `valkey` ask for and returns when both answer. A server that dies by itself
    (out of memory, killed) is started again, on the same socket. Enter it on the main thread's event loop: the
    children live as long as that thread (`storage.embedded.child`).
    """

    def __init__(self, data: Path, *, mongod: bool = True, valkey: bool = True) -> None:
        self._data = data.resolve()
        self._want_mongod = mongod
        self._want_valkey = valkey
        self._servers: list[Mongod | Valkey] = []
        self._stack = contextlib.AsyncExitStack()

    @property
    def addresses(self) -> Addresses:
        return addresses_of(self._data)

    @property
    def servers(self) -> Sequence[Mongod | Valkey]:
        """Those that run, for tests and reports."""
        return tuple(self._servers)

    async def __aenter__(self) -> Self:
        """Raises: EmbeddedError: the folder is in use, or a server cannot run here."""
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(DataLock(self._data))
            run = make_socket_folder(self._data)
            wanted: list[Mongod | Valkey] = []
            if self._want_mongod:
                wanted.append(Mongod(self._data / "mongod", run))
            if self._want_valkey:
                wanted.append(Valkey(self._data / "valkey", run))
            for server in wanted:
                await server.start()
                stack.push_async_callback(server.stop)
            self._servers = wanted
            tasks = await stack.enter_async_context(Tasks("embedded"))
            for server in wanted:
                tasks.start(_watch(server), server.child.name)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()


def addresses_of(data: Path) -> Addresses:
    """Where the servers of `data` listen when they run."""
    run = socket_folder(data)
    return Addresses(mongo_uri_of(run), redis_url_of(run))


def running(data: Path) -> Addresses | None:
    """The addresses of the servers of `data` when another process holds them, else None."""
    lock = DataLock(data)
    if lock.try_acquire():
        lock.release()
        return None
    return addresses_of(data)


async def _watch(server: Mongod | Valkey) -> None:
    """Starts `server` again whenever it has ended by itself, and keeps its log short."""
    pause = FIRST_PAUSE_SECONDS
    started = log_checked = time.monotonic()
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        now = time.monotonic()
        if now - log_checked > LOG_CHECK_SECONDS:
            server.limit_log()
            log_checked = now
        status = server.child.status()
        if status is None:
            continue
        event(logger, logging.ERROR, "embedded server died, starting it again", server=server.child.name, status=status)
        if now - started > HEALTHY_SECONDS:
            pause = FIRST_PAUSE_SECONDS
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        started = time.monotonic()
        try:
            await server.start()
        except Exception as error:  # whatever it is: try again, mail waits in the relays meanwhile
            event(logger, logging.ERROR, "embedded server does not start", exc_info=error, server=server.child.name)
