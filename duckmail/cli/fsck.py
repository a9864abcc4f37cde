"""Compare every counter and reference with the mail itself. Works beside a running server.

The exit status is 1 when there were differences, repaired or not.
"""

import argparse
import os
import time

from duckmail.app.services import open_services
from duckmail.cli.common import config_arguments, configuration
from duckmail.cli.databases import databases
from duckmail.runtime import loop
from storage.checks.difference import Counts
from storage.fsck import Fsck
from storage.store import Store


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--deep", action="store_true", help="read every octet, and hash every part")
    parser.add_argument("--repair", action="store_true", help="recount the mailboxes whose numbers are wrong")
    config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    config = configuration(args)

    async def main() -> int:
        async with (
            databases(config, attach=True) as found,
            open_services(config, found, f"cli:{os.getpid()}") as services,
        ):
            return await _check(services.store, args)

    return loop.run(main())


async def _check(store: Store, args: argparse.Namespace) -> int:
    begun = time.monotonic()
    fsck = Fsck(store, repair=args.repair, deep=args.deep)
    differences = repaired = 0
    async for difference in fsck.run():
        print(_printable(str(difference)), flush=True)
        differences += 1
        repaired += difference.repaired
    for line in _summary(fsck.counts):
        print(line)
    took = f"in {time.monotonic() - begun:.1f} s"
    if not differences:
        print(f"no differences, {took}")
        return 0
    print(f"{differences} differences, {repaired} of them repaired, {took}")
    return 1


def _summary(counts: Counts) -> list[str]:
    looked = ("accounts", "mailboxes", "messages", "archived", "queued", "audited", "contents", "parts")
    unnamed = ("contents", "texts", "parts", "files")
    lines = ["checked: " + ", ".join(f"{getattr(counts, name)} {name}" for name in looked)]
    left = [f"{number} {name}" for name in unnamed if (number := getattr(counts, f"unnamed_{name}"))]
    return [*lines, "to be swept in time: " + ", ".join(left)] if left else lines


def _printable(text: str) -> str:
    """Names come from the database as they are: nothing in them may reach the terminal as a control sequence."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
