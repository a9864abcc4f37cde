"""The story of one message: whence it came, what was found out, who decided, where it is, and each attempt to send it.
Status 1 if nothing is known of it. Works beside a running server."""

import argparse
import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC

from duckmail.app.services import open_services
from duckmail.cli.common import config_arguments, configuration
from duckmail.cli.databases import databases
from duckmail.model.trace import TraceEntry
from duckmail.runtime import loop
from duckmail.services.access import SYSTEM

FAILED = 1
MOST = 1000  # entries


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("message_id", metavar="MESSAGE-ID", help="with or without its <>")
    parser.add_argument("--json", action="store_true", help="one JSON object per step")
    config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    config = configuration(args)

    async def main() -> int:
        async with (
            databases(config, attach=True) as found,
            open_services(config, found, f"cli:{os.getpid()}") as services,
        ):
            story = await services.tracing.find(args.message_id, MOST, SYSTEM)
        for entry in story.entries:
            print(json.dumps(described(entry)) if args.json else "\n".join(lines(entry)))
        if story.more:
            print(f"there is more: these are the first {MOST} steps")
        if not story.entries and not args.json:
            print("nothing is known of this message")
        return 0 if story.entries else FAILED

    return loop.run(main())


def lines(entry: TraceEntry) -> Iterator[str]:
    """For people: the step, and a line for each thing that is known of it."""
    owner = f"  account {entry.user}" if entry.user else ""
    yield f"{entry.at.astimezone():%Y-%m-%d %H:%M:%S}  {entry.step.value}{owner}"
    for name, value in entry.about.items():
        if isinstance(value, list):
            yield from (f"    {name:<12}{_said(each)}" for each in value)
        else:
            yield f"    {name:<12}{_said(value)}"


def _said(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_said(each)}" for name, each in value.items())
    if isinstance(value, list):
        return " ".join(map(_said, value))
    # Words of strangers: nothing in them moves the cursor.
    return "".join(character if character.isprintable() else "?" for character in str(value))


def described(entry: TraceEntry) -> dict[str, object]:
    """For programs."""
    return {
        "id": entry.id,
        "step": entry.step.value,
        "time": entry.at.astimezone(UTC).isoformat(timespec="milliseconds"),
        "user": entry.user,
        "messageId": entry.message_id,
        "about": dict(entry.about),
    }
