"""Finds the command and runs it."""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from duckmail import __version__
from duckmail.errors import DuckmailError

FAILED = 1
INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Command:
    """`name` is also that of the module in `duckmail.cli`."""

    name: str
    help: str


COMMANDS: tuple[Command, ...] = (
    Command("serve", "run the server"),
    Command("config", "check, show or generate the configuration"),
    Command("user", "add, list and remove accounts, set passwords"),
    Command("token", "make, list and revoke access tokens of the API"),
    Command("queue", "list, show, retry, hold, release and remove mail on its way out"),
    Command("report", "list and show what others report about our domains"),
    Command("task", "list the work behind the answers, or let some of it begin now"),
    Command("trace", "tell the story of one message, in or out"),
    Command("keys", "change the keys that secrets are sealed with"),
    Command("dns", "print the DNS records of a domain, and say which are missing or wrong"),
    Command("fsck", "compare every counter and reference with the mail itself"),
    Command("doctor", "send a message through a running server and report each step"),
)


class CommandModule(Protocol):
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def run(argv: Sequence[str]) -> int:
    """Runs a command line (without the program's name); gives the exit status."""
    width = max(len(command.name) for command in COMMANDS) + 2
    parser = argparse.ArgumentParser(
        prog="duckmail",
        description="A mail server: IMAP, LMTP and a REST API in one process.",
        epilog="commands:\n"
        + "\n".join(f"  {command.name:<{width}}{command.help}" for command in COMMANDS)
        + "\n\n`duckmail COMMAND --help` tells more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="duckmail [--version] COMMAND ...",
    )
    parser.add_argument("--version", action="version", version=f"duckmail {__version__}")
    parser.add_argument("command", choices=[command.name for command in COMMANDS], help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    chosen = parser.parse_args(argv)
    return _run(chosen.command, chosen.rest)


def _run(name: str, argv: Sequence[str]) -> int:
    module = cast("CommandModule", importlib.import_module(f"duckmail.cli.{name}"))
    parser = argparse.ArgumentParser(prog=f"duckmail {name}", description=module.__doc__)
    module.arguments(parser)
    args = parser.parse_args(argv)
    try:
        return module.run(args)
    except DuckmailError as error:
        for line in error.text.splitlines():
            print(f"duckmail: {line}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:  # the reader of our output went away, as in `duckmail user list | head`
        sys.stderr.close()
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
