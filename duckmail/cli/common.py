"""What several commands share: their arguments, the configuration, the database servers."""

import argparse
import getpass
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from duckmail.config.load import load
from duckmail.config.schema import Config
from duckmail.errors import InvalidInput
from storage.embedded.servers import Addresses, Embedded, running

LONGEST_PASSWORD_LINE = 4096


def config_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration file; without it all defaults hold")
    parser.add_argument("--data", type=Path, metavar="DIR", help="data folder, instead of server.data")


def configuration(args: argparse.Namespace) -> Config:
    """Raises: ConfigError."""
    return load(args.config, args.data)


@asynccontextmanager
async def databases(config: Config, *, attach: bool) -> AsyncIterator[Addresses]:
    """Where MongoDB and Redis are (an empty URL: no Redis); embedded servers run while the context is open.

    `attach`: use the embedded servers of a duckmail that runs on the same data folder. Raises: EmbeddedError.
    """
    uri, url = config.mongo.uri.get_secret_value(), config.redis_url
    if not config.embedded_mongo and not config.embedded_redis:
        yield Addresses(uri, url)
        return
    found = running(config.server.data) if attach else None
    if found is not None:
        yield _chosen(config, found)
        return
    async with Embedded(config.server.data, mongod=config.embedded_mongo, valkey=config.embedded_redis) as servers:
        yield _chosen(config, servers.addresses)


def _chosen(config: Config, embedded: Addresses) -> Addresses:
    return Addresses(
        embedded.mongo_uri if config.embedded_mongo else config.mongo.uri.get_secret_value(),
        embedded.redis_url if config.embedded_redis else config.redis_url,
    )


def read_password(name: str) -> str:
    """A new password for `name`: asked for twice on a terminal, else the first line of standard input.

    Raises: InvalidInput: empty, or not the same twice.
    """
    if sys.stdin.isatty():
        password = getpass.getpass(f"New password for {name}: ")
        if password != getpass.getpass("Again: "):
            raise InvalidInput("The two passwords differ; nothing was changed")
    else:
        password = sys.stdin.readline(LONGEST_PASSWORD_LINE).rstrip("\r\n")
    if not password:
        raise InvalidInput("No password was given; nothing was changed")
    return password
