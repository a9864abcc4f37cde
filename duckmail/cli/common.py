"""What several commands share: their arguments, the configuration, passwords."""

import argparse
import getpass
import sys
from pathlib import Path

from duckmail.config.load import load
from duckmail.config.schema import Config
from duckmail.errors import InvalidInput

LONGEST_PASSWORD_LINE = 4096


def config_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration file; without it all defaults hold")
    parser.add_argument("--data", type=Path, metavar="DIR", help="data folder, instead of server.data")


def configuration(args: argparse.Namespace) -> Config:
    """Raises: ConfigError."""
    return load(args.config, args.data)


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
