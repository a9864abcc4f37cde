"""Runs the server until SIGTERM or Ctrl-C. SIGHUP reads the certificates and the log level again."""

import argparse
import contextlib
import gc
import logging
import socket
import sys

from duckmail.app import Databases, Server, open_services
from duckmail.cli import firststart
from duckmail.cli.common import config_arguments, configuration
from duckmail.cli.databases import databases
from duckmail.config.schema import Config
from duckmail.errors import DuckmailError
from duckmail.runtime import log, loop
from protocols.net.sockets import ListenError
from protocols.net.tls import TlsError

_logger = logging.getLogger("duckmail")


class StartError(DuckmailError):
    """The server cannot start; the text says why, in one line."""


def arguments(parser: argparse.ArgumentParser) -> None:
    config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    config = configuration(args)
    log.setup(config.log.level, sys.stderr)
    loop.run(serve(config, args))
    return 0


async def serve(config: Config, args: argparse.Namespace) -> None:
    """Raises: DuckmailError: it cannot start."""
    hostname = config.server.hostname or socket.getfqdn()
    certificate = firststart.certificate(config, hostname)
    token = firststart.api_token(config)
    async with contextlib.AsyncExitStack() as stack:
        found = await stack.enter_async_context(databases(config, attach=False))
        services = await stack.enter_async_context(
            open_services(config, Databases(found.mongo_uri, found.redis_url), str(config.server.data.resolve()))
        )
        demo = await firststart.demo_account(config, services.users) if config.embedded_mongo else None
        try:
            server = Server(services, certificate, token.text if token else "")
            stack.push_async_callback(server.drain)
            listening = await server.start()
        except (ListenError, TlsError) as error:
            raise StartError(str(error)) from error
        # What was built stays for the life of the process: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        print(firststart.welcome(config, demo, token, listening), flush=True)
        await server.wait(lambda: _reload(server, args))


def _reload(server: Server, args: argparse.Namespace) -> None:
    server.tls.reload()
    try:
        level = configuration(args).log.level
    except DuckmailError as error:
        log.event(_logger, logging.ERROR, "configuration not read again", reason=error.text)
        return
    logging.getLogger("duckmail").setLevel(level.upper())
    log.event(_logger, logging.INFO, "reloaded", level=level)
