"""GETMETADATA and SETMETADATA (RFC 5464)."""

from dataclasses import dataclass

from duckmail.model.annotation import within
from duckmail.model.mailbox import Mailbox
from protocols.imap.command import LOGGED_IN, command
from protocols.imap.reply import Reply, ok
from protocols.imap.session import Session
from protocols.imap.wire.metadata import Options, entries, entry, metadata_response, options, options_follow, value
from protocols.imap.wire.parser import Parser


@dataclass(frozen=True, slots=True)
class _Get:
    path: str
    names: tuple[str, ...]
    options: Options


@dataclass(frozen=True, slots=True)
class _Set:
    path: str
    changes: dict[str, bytes | None]


def _parse_get(parser: Parser) -> _Get:
    """getmetadata = "GETMETADATA" [SP getmetadata-options] SP mailbox SP entries.

    RFC 5464 §4.2.1, §4.2.2: the examples have the options behind the mailbox, and clients follow them; they are taken
    in either place.
    """
    parser.sp()
    given = options(parser) if parser.peek() == ord("(") else None
    if given is not None:
        parser.sp()
    path = parser.mailbox()
    parser.sp()
    if given is None and options_follow(parser):
        given = options(parser)
        parser.sp()
    return _Get(path, entries(parser), given or Options())


def _parse_set(parser: Parser) -> _Set:
    """setmetadata = "SETMETADATA" SP mailbox SP "(" entry SP value *(SP entry SP value) ")"."""
    parser.sp()
    path = parser.mailbox()
    parser.sp()
    return _Set(path, dict(parser.list_of(lambda: _entry_value(parser))))


def _entry_value(parser: Parser) -> tuple[str, bytes | None]:
    name = entry(parser)
    parser.sp()
    return name, value(parser)


async def _place(session: Session, path: str) -> Mailbox | None:
    """RFC 5464 §4.2: the empty mailbox name stands for the server."""
    return await session.mail.mailbox(path, "l") if path else None


async def _get(session: Session, arguments: _Get) -> Reply:
    place = await _place(session, arguments.path)
    found = await session.mail.annotations.get(place)
    values: dict[str, bytes | None] = {}
    longest = 0
    for name in arguments.names:
        if arguments.options.depth == 0:
            values[name] = None  # what was asked for by name and is not there is NIL
        for each in within(found, name, arguments.options.depth):
            values[each] = found[each]
    for name, octets in list(values.items()):
        if octets is not None and arguments.options.most is not None and len(octets) > arguments.options.most:
            longest = max(longest, len(octets))
            del values[name]
    if values:
        session.writer.untagged(metadata_response(place.path if place else "", values.items(), session.utf8))
    # RFC 5464 §4.2.1: the size of the largest of those that were left out.
    return ok("GETMETADATA completed", f"METADATA LONGENTRIES {longest}" if longest else "")


async def _set(session: Session, arguments: _Set) -> Reply:
    place = await _place(session, arguments.path)
    await session.mail.annotations.change(place, arguments.changes)
    if session.notifying is not None:
        session.notifying.metadata.own(place, arguments.changes)
    return ok("SETMETADATA completed")


GETMETADATA = command("GETMETADATA", LOGGED_IN, _parse_get, _get)
SETMETADATA = command("SETMETADATA", LOGGED_IN, _parse_set, _set)
