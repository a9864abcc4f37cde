"""`duckmail serve --workers N`: one parent, N processes on the same TCP ports; the kernel spreads the connections.

The parent owns the embedded servers and serves nobody. A worker that dies is started again; when the parent dies, the
workers get SIGTERM from the kernel and drain.
"""

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from duckmail.config.schema import Config
from duckmail.runtime.log import event
from duckmail.runtime.tasks import Tasks
from protocols.net.sockets import ListenSpec, listen
from storage.embedded.child import Child

logger = logging.getLogger("duckmail.workers")

WATCH_SECONDS = 0.1
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
HEALTHY_SECONDS = 30.0
# Beyond the drain timeout: closing the store and the interpreter.
END_SECONDS = 4.0


def specs(config: Config) -> list[tuple[str, str]]:
    """(label, listener) of all listeners of the configuration."""
    found: list[tuple[str, Sequence[str]]] = []
    if config.imap.enabled:
        found += [("IMAP, STARTTLS", config.imap.listen), ("IMAP, TLS", config.imap.listen_tls)]
    if config.lmtp.enabled:
        found += [("LMTP", config.lmtp.listen)]
    if config.api.enabled:
        found += [("API, HTTP", config.api.listen), ("API, HTTPS", config.api.listen_tls)]
    return [(label, spec) for label, listeners in found for spec in listeners]


def share_of(config: Config, number: int) -> Config:
    """The configuration of worker `number`: unix sockets cannot be shared, the first worker alone has them."""
    if number == 0:
        return config
    changed = {}
    for name in ("imap", "lmtp", "api"):
        section = getattr(config, name)
        lists = [key for key in ("listen", "listen_tls") if hasattr(section, key)]
        kept = {key: tuple(spec for spec in getattr(section, key) if not spec.startswith("unix:")) for key in lists}
        changed[name] = section.model_copy(update=kept)
    return config.model_copy(update=changed)


def check_ports(config: Config) -> None:
    """Opens every listener once, alone: sharing a port would hide that another program has it. Raises: ListenError."""
    for _, spec in specs(config):
        for opened in listen(ListenSpec.parse(spec)):
            opened.close()


async def run_workers(config: Config, file: Path | None, count: int, started: Callable[[], None]) -> None:
    """Runs `count` workers until SIGTERM or SIGINT; SIGHUP is passed on. Raises: ListenError."""
    check_ports(config)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    workers = [_worker(config, file, number) for number in range(count)]
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, _pass_on, workers, signal.SIGHUP)
    async with Tasks("workers") as tasks:
        for worker in workers:
            worker.start()
            tasks.start(_watch(worker), worker.name)
        started()
        await stop.wait()
    await asyncio.gather(*(worker.stop(config.server.drain_timeout + END_SECONDS) for worker in workers))


def _pass_on(workers: Sequence[Child], number: signal.Signals) -> None:
    for worker in workers:
        worker.send(number)


def _worker(config: Config, file: Path | None, number: int) -> Child:
    argv = [sys.executable, "-P", "-m", "duckmail.cli", "serve", "--worker", str(number)]
    argv += ["--data", str(config.server.data)]
    argv += ["--config", str(file.absolute())] if file else []
    return Child(f"worker-{number}", argv, None, orphaned=signal.SIGTERM)


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
