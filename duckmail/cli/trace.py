"""The story of one message: whence it came, what was found out, who decided, where it is, and each attempt to send it.
What was not taken is found by the address it was from or for, the client or the connection. Status 1 if nothing is
known. Works beside a running server."""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from duckmail.app.services import open_services
from duckmail.cli.common import config_arguments, configuration
from duckmail.cli.databases import databases
from duckmail.model.trace import TraceEntry, Wanted
from duckmail.runtime import loop
from duckmail.services.access import SYSTEM

FAILED = 1
USAGE = 2
MOST = 1000  # entries


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("message_id", metavar="MESSAGE-ID", nargs="?", default="", help="with or without its <>")
    parser.add_argument("--address", default="", help="of the sender, or of a recipient")
    parser.add_argument("--session", default="", help="the id of a connection, as the log has it")
    parser.add_argument("--queue", default="", help="an id of the queue")
    parser.add_argument("--client", default="", help="the address of the client, as 192.0.2.1")
    parser.add_argument("--after", type=_moment, help="not before this time, as 2026-01-31 or 2026-01-31T09:30")
    parser.add_argument("--before", type=_moment, help="before this time")
    parser.add_argument("--json", action="store_true", help="one JSON object per step")
    config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    config = configuration(args)
    wanted = Wanted(
        args.message_id, args.address, args.session, args.queue, args.client, after=args.after, before=args.before
    )
    if not wanted.keys:
        print("say of which message: MESSAGE-ID, --address, --session, --queue or --client", file=sys.stderr)
        return USAGE

    async def main() -> int:
        async with (
            databases(config, attach=True) as found,
            open_services(config, found, f"cli:{os.getpid()}") as services,
        ):
            story = await services.tracing.find(wanted, MOST, SYSTEM)
        for entry in story.entries:
            print(json.dumps(described(entry)) if args.json else "\n".join(lines(entry)))
        if story.more:
            print(f"there may be more: these are the latest {len(story.entries)} steps")
        if not story.entries and not args.json:
            print("nothing is known of this message" if args.message_id else "nothing is known")
        return 0 if story.entries else FAILED

    return loop.run(main())


def _moment(text: str) -> datetime:
    """In local time, unless it says which. Raises: ValueError."""
    return datetime.fromisoformat(text).astimezone()


def lines(entry: TraceEntry) -> Iterator[str]:
    """For people: the step, and a line for each thing that is known of it."""
    owner = f"  account {entry.user}" if entry.user else ""
    named = f"  <{_said(entry.message_id)}>" if entry.message_id else ""
    yield f"{entry.at.astimezone():%Y-%m-%d %H:%M:%S}  {entry.step.value}{owner}{named}"
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
