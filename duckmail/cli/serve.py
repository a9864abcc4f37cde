"""Runs the server until SIGTERM or Ctrl-C. SIGHUP reads the certificates and the log level again."""

import argparse
import contextlib
import gc
import logging
import os
import resource
import socket
import sys
from collections.abc import Sequence

from duckmail.app.listeners import METRICS, Opened, close_listeners, open_listeners
from duckmail.app.server import Server, catch_signals
from duckmail.app.services import open_services
from duckmail.cli import firststart
from duckmail.cli.common import config_arguments, configuration
from duckmail.cli.databases import databases
from duckmail.cli.workerfigures import WorkerFigures
from duckmail.cli.workers import Inherited, Workers
from duckmail.config.schema import Config
from duckmail.errors import DuckmailError
from duckmail.runtime import log, loop
from duckmail.runtime.systemd import Notifier, watch
from duckmail.runtime.tasks import Tasks
from protocols.net.sockets import ListenError, unclaimed
from protocols.net.tls import CertificateFiles, TlsContexts, TlsError

MOST_WORKERS = 64
YOUNG_OBJECTS = 10_000
"""Made between two looks of the collector: a message makes a thousand, and nearly none of them is in a cycle."""

_logger = logging.getLogger("duckmail")


class StartError(DuckmailError):
    """The server cannot start; the text says why, in one line."""


def arguments(parser: argparse.ArgumentParser) -> None:
    config_arguments(parser)
    parser.add_argument(
        "--workers", type=_workers, default=1, metavar="N", help="processes on shared ports (default: 1)"
    )
    # Of a worker: its number, and what it has from its parent.
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--inherited", help=argparse.SUPPRESS)


def _workers(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"must be a number from 1 to {MOST_WORKERS}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    notifier = Notifier.take(os.environ, os.getpid())
    config = configuration(args)
    log.setup(config.log.level, sys.stderr)
    sys.unraisablehook = log.unraisable
    _raise_file_limit()
    try:
        many = args.workers > 1 and args.worker is None
        loop.run((serve_many if many else serve)(config, args, notifier))
    except (ListenError, TlsError) as error:
        raise StartError(str(error)) from error
    return 0


def _raise_file_limit() -> None:
    """As many open files as the system allows: each connection is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def serve(config: Config, args: argparse.Namespace, notifier: Notifier) -> None:
    """One process: all of the server, or one of several workers. Raises: DuckmailError, ListenError, TlsError."""
    worker: int | None = args.worker
    inherited = Inherited(args.inherited, worker) if worker is not None else None
    async with contextlib.AsyncExitStack() as stack:
        found = await stack.enter_async_context(databases(config, attach=worker is not None))
        certificate = firststart.certificate(config, _hostname(config))
        token = firststart.api_token(config)
        services = await stack.enter_async_context(open_services(config, found, _slot(config, str(worker or 0))))
        server = Server(services, certificate, token.text if token else "")
        opened = inherited.listeners if inherited else _open_listeners(config)
        stack.callback(close_listeners, opened)
        demo = await firststart.demo_account(config, services.users) if config.embedded_mongo else None
        stack.push_async_callback(server.drain)
        await server.start(opened)
        # What was built stays for the life of the process: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS)
        stopped = catch_signals(lambda: _reload(server, args, notifier))
        if inherited:
            inherited.ready()
        else:
            print(firststart.welcome(config, demo, token, _addresses(opened)), flush=True)
            notifier.ready()
        services.tasks.start(watch(inherited or notifier, services.store.ping), "watchdog")
        await stopped.wait()
        notifier.stopping()


async def serve_many(config: Config, args: argparse.Namespace, notifier: Notifier) -> None:
    """The parent of several workers: owns the embedded servers and the listening sockets, and makes what the first
    start makes. What would end a worker at once ends it first, with its one clear line.

    Raises: DuckmailError, ListenError, TlsError.
    """
    async with databases(config, attach=False) as found:
        certificate = firststart.certificate(config, _hostname(config))
        TlsContexts(CertificateFiles(*certificate))
        token = firststart.api_token(config)
        async with open_services(config, found, _slot(config, "parent")) as services:
            opened = _open_listeners(config)
            demo = await firststart.demo_account(config, services.users) if config.embedded_mongo else None
        listening = [*_addresses(opened), ("processes", str(args.workers))]
        figures = WorkerFigures(config, args.workers, [one for one in opened if one.label == METRICS])
        shared = [one for one in opened if one.label != METRICS]
        workers = Workers(config, args.config, args.workers, shared, figures.doors)
        stopped = catch_signals(lambda: _pass_on(workers, notifier))
        async with Tasks("parent") as tasks, figures, workers:
            print(firststart.welcome(config, demo, token, listening), flush=True)
            notifier.ready()
            tasks.start(watch(notifier, workers.ping), "watchdog")
            await stopped.wait()
            notifier.stopping()


def _open_listeners(config: Config) -> list[Opened]:
    """Raises: ListenError."""
    opened = open_listeners(config)
    for address in unclaimed(os.environ):
        log.event(_logger, logging.WARNING, "a socket of systemd is in no list of listeners", address=address)
    return opened


def _addresses(opened: Sequence[Opened]) -> list[tuple[str, str]]:
    return [(one.label, each.address) for one in opened for each in one.sockets]


def _hostname(config: Config) -> str:
    return config.server.hostname or socket.getfqdn()


def _slot(config: Config, number: str) -> str:
    """What a restarted process has again: the data folder and the number of the worker."""
    return f"{config.server.data.resolve()}:{number}"


def _reload(server: Server, args: argparse.Namespace, notifier: Notifier) -> None:
    with notifier.reloading():
        server.tls.reload()
        try:
            level = configuration(args).log.level
        except DuckmailError as error:
            log.event(_logger, logging.ERROR, "configuration not read again", reason=error.text)
            return
        logging.getLogger("duckmail").setLevel(level.upper())
        log.event(_logger, logging.INFO, "reloaded", level=level)


def _pass_on(workers: Workers, notifier: Notifier) -> None:
    with notifier.reloading():
        workers.reload()
