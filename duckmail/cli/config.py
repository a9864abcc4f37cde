"""Check a configuration file, show what is in effect, or write down all keys with their defaults."""

import argparse
import sys

from duckmail.cli.common import config_arguments, configuration
from duckmail.config.document import generate, show


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    check = actions.add_parser("check", help="report every mistake in a file")
    shown = actions.add_parser("show", help="print what is in effect, secrets masked")
    actions.add_parser("generate", help="print every key with description, type, unit and default")
    config_arguments(check)
    config_arguments(shown)


def run(args: argparse.Namespace) -> int:
    if args.action == "generate":
        sys.stdout.write(generate())
        return 0
    config = configuration(args)
    if args.action == "show":
        sys.stdout.write(show(config))
    else:
        print(f"{args.config or 'defaults'}: no mistakes")
    return 0
