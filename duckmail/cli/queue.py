"""The outbound queue: what waits, why, and what to do about it. Works beside a running server."""

import argparse
import json
import os
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from duckmail.app.services import open_services
from duckmail.cli.common import config_arguments, configuration
from duckmail.cli.databases import databases
from duckmail.errors import InvalidInput, NotFound
from duckmail.model.queue import Notify, QueuedMessage, QueueRecipient, State
from duckmail.runtime import loop
from duckmail.services.queue.queue import Queue

SHOWN = 40  # characters of an address in a list
UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    listed = actions.add_parser("list", help="print all messages that wait")
    listed.add_argument("--all", action="store_true", help="also those of the last three days that are at their end")
    show = actions.add_parser("show", help="print one message: what became of each recipient, and what was said")
    for action in (listed, show):
        action.add_argument("--json", action="store_true", help="one JSON object per message")
    retry = actions.add_parser("retry", help="try a message, or all, again now")
    hold = actions.add_parser("hold", help="keep a message back until it is released")
    release = actions.add_parser("release", help="let a held message go on")
    remove = actions.add_parser("remove", help="take a message out, for all recipients that still wait for it")
    remove.add_argument("--notify", action="store_true", help="tell the sender that it was not delivered")
    for action in (show, retry, hold, release, remove):
        action.add_argument("id", help="as `list` prints it" + (', or "all"' if action is retry else ""))
    for action in (listed, show, retry, hold, release, remove):
        config_arguments(action)


def run(args: argparse.Namespace) -> int:
    config = configuration(args)
    actions = {
        "list": _list,
        "show": _show,
        "retry": _retry,
        "hold": _hold,
        "release": _release,
        "remove": _remove,
    }

    async def main() -> None:
        async with (
            databases(config, attach=True) as found,
            open_services(config, found, f"cli:{os.getpid()}") as services,
        ):
            await actions[args.action](services.queue, args)

    loop.run(main())
    return 0


async def _list(queue: Queue, args: argparse.Namespace) -> None:
    count = octets = 0
    async for message in queue.messages(ended=args.all):
        count, octets = count + 1, octets + message.size
        print(json.dumps(described(message)) if args.json else line(message, datetime.now(UTC)), flush=True)
    if not args.json:
        print(f"{count} messages, {octets} octets" if count else "the queue is empty")


async def _show(queue: Queue, args: argparse.Namespace) -> None:
    message = await _found(queue, args.id)
    print(json.dumps(described(message)) if args.json else "\n".join(lines(message, datetime.now(UTC))))


async def _retry(queue: Queue, args: argparse.Namespace) -> None:
    if args.id == "all":
        print(f"{await queue.retry()} messages will be tried now")
        return
    message = await _waiting(queue, args.id)
    if not await queue.retry(message.id):
        raise InvalidInput(f"{message.id} is being sent right now")
    print(f"{message.id} will be tried {'when it is released: it is held' if message.held else 'now'}")


async def _hold(queue: Queue, args: argparse.Namespace) -> None:
    message = await _waiting(queue, args.id)
    await queue.hold(message.id)
    print(f"{message.id} is held" + ("; an attempt under way comes to its end" if message.runner else ""))


async def _release(queue: Queue, args: argparse.Namespace) -> None:
    message = await _waiting(queue, args.id)
    await queue.release(message.id)
    print(f"{message.id} is not held{'' if message.held else ', and was not'}")


async def _remove(queue: Queue, args: argparse.Namespace) -> None:
    message = await _waiting(queue, args.id)
    await queue.remove(message.id, notify=args.notify)
    waited = sum(recipient.state is State.WAITING for recipient in message.recipients)
    print(f"{message.id} is removed; {waited} recipients will not get it")


async def _found(queue: Queue, identifier: str) -> QueuedMessage:
    try:
        return await queue.get(identifier)
    except NotFound:
        raise NotFound(f"There is no message {_plain(identifier)} in the queue") from None


async def _waiting(queue: Queue, identifier: str) -> QueuedMessage:
    message = await _found(queue, identifier)
    if message.ended is not None:
        raise NotFound(f"{message.id} is at its end; `duckmail queue show {message.id}` tells what became of it")
    return message


def line(message: QueuedMessage, now: datetime) -> str:
    """One message of a list."""
    states = Counter(recipient.state.value for recipient in message.recipients)
    first = message.recipients[0].address
    more = f" and {len(message.recipients) - 1} more" if len(message.recipients) > 1 else ""
    return "  ".join(
        (
            message.id,
            f"{_time(now, message.created):>7}",
            f"{_size(message.size):>8}",
            f"{_plain(message.envelope.sender or '<>')[:SHOWN]:<{SHOWN}}",
            f"{_plain(first)[:SHOWN] + more:<{SHOWN}}",
            ", ".join(f"{count} {state}" for state, count in states.items()) + _next(message, now),
        )
    ).rstrip()


def _next(message: QueuedMessage, now: datetime) -> str:
    if message.ended is not None:
        return f", ended {_time(now, message.ended)} ago"
    if message.held:
        return ", held"
    if message.runner:
        return ", being sent"
    times = [recipient.due for recipient in message.recipients if recipient.due is not None]
    if not times:
        return ", waits for a route"
    return f", next attempt in {_time(min(times), now)}" if min(times) > now else ", due"


def lines(message: QueuedMessage, now: datetime) -> list[str]:
    """All about one message."""
    envelope = message.envelope
    extras = [envelope.body]
    extras += [name for name, set_ in (("SMTPUTF8", envelope.smtputf8), ("REQUIRETLS", envelope.requiretls)) if set_]
    found = [
        f"message     {message.id}{_next(message, now).replace(', ', ' (', 1)})",
        f"from        {_plain(envelope.sender or '<>')}",
        f"origin      {message.origin.value}" + (f", account {message.user}" if message.user else ""),
        f"size        {_size(message.size)}, {' '.join(extras)}",
        f"came        {_moment(message.created)} ({_time(now, message.created)} ago)",
    ]
    if message.runner:
        found.append(f"in work by  {_plain(message.runner)}")
    for recipient in message.recipients:
        found += ["", *_recipient(recipient, now)]
    return found


def _recipient(recipient: QueueRecipient, now: datetime) -> list[str]:
    status = f" {recipient.status}" if recipient.status else ""
    found = [
        f"to          {_plain(recipient.address)}",
        f"state       {recipient.state.value}{_plain(status)}, {recipient.attempts} attempts",
    ]
    if recipient.reply:
        found.append(
            f"said        {_plain(recipient.reply)}" + (f" ({_plain(recipient.host)})" if recipient.host else "")
        )
    if recipient.tried is not None:
        found.append(f"last tried  {_moment(recipient.tried)} ({_time(now, recipient.tried)} ago)")
    if recipient.due is not None:
        when = f"in {_time(recipient.due, now)}" if recipient.due > now else "now"
        found.append(f"next        {_moment(recipient.due)} ({when})")
    return found


def described(message: QueuedMessage) -> dict[str, Any]:
    """The message for JSON; times in ISO 8601, absent ones null."""
    envelope = message.envelope
    return {
        "id": message.id,
        "user": message.user,
        "origin": message.origin.value,
        "sender": envelope.sender,
        "size": message.size,
        "created": _iso(message.created),
        "ended": _iso(message.ended),
        "held": message.held,
        "runner": message.runner,
        "recipients": [
            {
                "address": recipient.address,
                "state": recipient.state.value,
                "status": recipient.status,
                "attempts": recipient.attempts,
                "reply": recipient.reply,
                "host": recipient.host,
                "tried": _iso(recipient.tried),
                "due": _iso(recipient.due),
                "notify": [str(flag.name).lower() for flag in Notify if flag in recipient.notify],
            }
            for recipient in message.recipients
        ],
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds")


def _moment(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _time(later: datetime, earlier: datetime) -> str:
    """The time between, in its largest unit."""
    seconds = max(0, int((later - earlier).total_seconds()))
    for length, unit in UNITS:
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return "0 s"


def _size(octets: int) -> str:
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if octets >= unit:
            return f"{octets / unit:.1f} {name}"
    return f"{octets} B"


def _plain(text: str) -> str:
    """What others wrote reaches the terminal as text, never as a control sequence."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
