"""`duckmail serve --workers N`: one parent, N processes that accept on the same sockets.

The parent opens every listening socket, of whatever kind, and serves nobody: a port in use is one error at the start, a
connection that comes while a worker is restarted waits or goes to another. A worker that dies is started again; when
the parent dies, the workers get SIGTERM from the kernel and drain.
"""

import asyncio
import json
import logging
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from duckmail.app import Opened, close_listeners
from duckmail.config.schema import Config
from duckmail.runtime.log import event
from duckmail.runtime.tasks import Tasks
from protocols.net.sockets import ListeningSocket
from storage.embedded.child import Child

logger = logging.getLogger("duckmail.workers")

WATCH_SECONDS = 0.1
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
HEALTHY_SECONDS = 30.0
# Beyond the drain timeout: closing the store and the interpreter. With the default of 8 s all end within 10.
END_SECONDS = 1.5


@asynccontextmanager
async def run_workers(
    config: Config, file: Path | None, count: int, opened: Sequence[Opened]
) -> AsyncIterator[asyncio.Event]:
    """Runs `count` workers on the sockets, which it owns; SIGHUP is passed on. Gives what SIGTERM and SIGINT set."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    workers = [_worker(config, file, number, opened) for number in range(count)]
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    loop.add_signal_handler(signal.SIGHUP, _pass_on, workers, signal.SIGHUP)
    try:
        async with Tasks("workers") as tasks:
            for worker in workers:
                worker.start()
                tasks.start(_watch(worker), worker.name)
            yield stopped
    finally:
        # Before the workers end: nobody is left waiting in a queue that no one will look at.
        close_listeners(opened)
        await asyncio.gather(*(worker.stop(config.server.drain_timeout + END_SECONDS) for worker in workers))


def adopt(text: str) -> list[Opened]:
    """The listening sockets that a worker has from its parent, as `_worker` wrote them down."""
    return [Opened(label, [ListeningSocket(socket.socket(fileno=fd)) for fd in fds]) for label, fds in json.loads(text)]


def _pass_on(workers: Sequence[Child], number: signal.Signals) -> None:
    for worker in workers:
        worker.send(number)


def _worker(config: Config, file: Path | None, number: int, opened: Sequence[Opened]) -> Child:
    # With their labels: a configuration file that changes meanwhile must not give a port to another protocol.
    inherited = [(one.label, [each.sock.fileno() for each in one.sockets]) for one in opened]
    argv = [sys.executable, "-P", "-m", "duckmail.cli", "serve", "--worker", str(number)]
    argv += ["--inherited", json.dumps(inherited), "--data", str(config.server.data)]
    argv += ["--config", str(file.absolute())] if file else []
    fds = [fd for _, listed in inherited for fd in listed]
    return Child(f"worker-{number}", argv, None, orphaned=signal.SIGTERM, fds=fds)


async def _watch(worker: Child) -> None:
    """Starts `worker` again whenever it has ended by itself."""
    pause = FIRST_PAUSE_SECONDS
    started = time.monotonic()
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        status = worker.status()
        if status is None:
            continue
        event(logger, logging.ERROR, "worker died, starting it again", worker=worker.name, status=status)
        if time.monotonic() - started > HEALTHY_SECONDS:
            pause = FIRST_PAUSE_SECONDS
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        started = time.monotonic()
        worker.start()
