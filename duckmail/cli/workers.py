"""`duckmail serve --workers N`: one parent, N processes that accept on the same sockets.

The parent opens every listening socket, of whatever kind, and serves nobody: a port in use is one error at the start, a
connection that comes while a worker is restarted waits or goes to another. A worker that dies is started again, one
that gives no sign of life is ended; when the parent dies, the workers get SIGTERM from the kernel and drain.
"""

import asyncio
import contextlib
import json
import logging
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from duckmail.app.listeners import Opened, close_listeners
from duckmail.config.schema import Config
from duckmail.errors import DuckmailError
from duckmail.runtime.log import event
from duckmail.runtime.tasks import Tasks
from protocols.net.sockets import ListeningSocket
from storage.embedded.child import Child

logger = logging.getLogger("duckmail.workers")

START_SECONDS = 120.0
WATCH_SECONDS = 0.1
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
HEALTHY_SECONDS = 30.0
# A worker gives a sign of life so often, and is ended when it gave none for so long.
BEAT_SECONDS = 10.0
HUNG_SECONDS = 60.0
PIPE_OCTETS = 65536  # all that a pipe holds
# Beyond the drain timeout: closing the store and the interpreter. With the default of 8 s all end within 10.
END_SECONDS = 1.5


class WorkerError(DuckmailError):
    """The workers do not start; the text says why, in one line."""


class Workers:
    """`async with Workers(...) as workers`: they run; at the end they drain and stop. It owns the sockets."""

    def __init__(
        self, config: Config, file: Path | None, count: int, opened: Sequence[Opened], own: Sequence[Opened] = ()
    ) -> None:
        """`opened`: what they share. `own`: one more listener for each, by its number; its owner closes it."""
        self._opened = opened
        self._stop_seconds = config.server.drain_timeout + END_SECONDS
        # A worker writes its number when it serves, and then as a sign of life. Each has the end to write to, so it
        # never ends.
        self._ready, self._tell = os.pipe()
        os.set_blocking(self._ready, False)
        self._children = [
            _child(config, file, number, [*opened, *own[number : number + 1]], self._tell) for number in range(count)
        ]
        self._heard: dict[int, float] = {}  # of each that serves: when it gave its last sign of life (monotonic)
        self._late: set[int] = set()  # to get SIGHUP when they serve: before that it would end them
        self._tasks = Tasks("workers")
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Returns when all of them serve. Raises: WorkerError."""
        asyncio.get_running_loop().add_reader(self._ready, self._hear)
        try:
            for child in self._children:
                child.start()
            async with asyncio.timeout(START_SECONDS):
                while len(self._heard) < len(self._children):
                    await self._wait_for_news()
        except TimeoutError as error:
            await self._stop()
            raise WorkerError("The workers do not start in time; see the log") from error
        except BaseException:
            await self._stop()
            raise
        for number, child in enumerate(self._children):
            self._tasks.start(self._watch(number, child), child.name)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tasks.aclose()
        await self._stop()

    async def _wait_for_news(self) -> None:
        for child in self._children:
            if (status := child.status()) is not None:
                raise WorkerError(f"{child.name} ended at its start (status {status}); see the log")
        self._changed.clear()
        try:
            async with asyncio.timeout(WATCH_SECONDS):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _stop(self) -> None:
        # Ours first: nobody is left waiting in a queue that no worker will look at.
        close_listeners(self._opened)
        await asyncio.gather(*(child.stop(self._stop_seconds) for child in self._children))
        asyncio.get_running_loop().remove_reader(self._ready)
        os.close(self._ready)
        os.close(self._tell)

    def _hear(self) -> None:
        try:
            numbers = os.read(self._ready, PIPE_OCTETS)
        except BlockingIOError:
            return
        for number in numbers:
            self._heard[number] = time.monotonic()
            if number in self._late:
                self._late.discard(number)
                self._children[number].send(signal.SIGHUP)
        self._changed.set()

    def reload(self) -> None:
        """Passes SIGHUP on."""
        for number, child in enumerate(self._children):
            if number in self._heard:
                child.send(signal.SIGHUP)
            else:
                self._late.add(number)

    async def _watch(self, number: int, child: Child) -> None:
        """Starts the worker again whenever it has ended by itself."""
        pause = FIRST_PAUSE_SECONDS
        started = time.monotonic()
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            status = child.status()
            if status is None:
                self._end_hung(number, child)
                continue
            self._hear()  # what it wrote before must not count for its successor
            self._heard.pop(number, None)
            event(logger, logging.ERROR, "worker died, starting it again", worker=child.name, status=status)
            if time.monotonic() - started > HEALTHY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            started = time.monotonic()
            child.start()

    def _end_hung(self, number: int, child: Child) -> None:
        """A worker that has not been heard for long hangs, or lost its store for good: `_watch` starts it anew."""
        if time.monotonic() - self._heard.get(number, math.inf) <= HUNG_SECONDS:
            return
        self._hear()  # should it be this process that stood still
        silent = time.monotonic() - self._heard[number]
        if silent > HUNG_SECONDS:
            event(logger, logging.ERROR, "worker gives no sign of life", worker=child.name, seconds=int(silent))
            del self._heard[number]
            child.send(signal.SIGKILL)

    async def ping(self) -> None:
        """Raises: WorkerError when none of them serves."""
        if not self._heard:
            raise WorkerError("No worker serves")


def _child(config: Config, file: Path | None, number: int, opened: Sequence[Opened], tell: int) -> Child:
    # With their labels: a configuration file that changes meanwhile must not give a port to another protocol.
    inherited = [(one.label, [each.sock.fileno() for each in one.sockets]) for one in opened]
    argv = [sys.executable, "-P", "-m", "duckmail.cli", "serve", "--worker", str(number)]
    argv += ["--inherited", json.dumps({"ready": tell, "every": BEAT_SECONDS, "listeners": inherited})]
    argv += ["--data", str(config.server.data)]
    argv += ["--config", str(file.absolute())] if file else []
    fds = [fd for _, listed in inherited for fd in listed]
    return Child(f"worker-{number}", argv, None, orphaned=signal.SIGTERM, fds=[*fds, tell])


class Inherited:
    """What a worker has from its parent, as `_child` wrote it down."""

    def __init__(self, text: str, number: int) -> None:
        found = json.loads(text)
        self._tell: int = found["ready"]
        self._number = number
        self.every: float = found["every"]
        self.listeners = [Opened(label, [_adopt(fd) for fd in fds]) for label, fds in found["listeners"]]

    def ready(self) -> None:
        """Tells the parent that this worker serves."""
        self.beat(True)

    def beat(self, well: bool) -> None:
        """A sign of life; whether the store answers each of them logs for itself."""
        with contextlib.suppress(BrokenPipeError):  # the parent is gone: SIGTERM is on its way
            os.write(self._tell, bytes([self._number]))


def _adopt(fd: int) -> ListeningSocket:
    return ListeningSocket(socket.socket(fileno=fd))
