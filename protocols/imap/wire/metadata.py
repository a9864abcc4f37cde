"""What GETMETADATA, SETMETADATA and LIST RETURN (METADATA) are given and answer (RFC 5464 §5, RFC 9590 §5)."""

from collections.abc import Iterable
from dataclasses import dataclass

from duckmail.errors import InvalidInput
from duckmail.model.annotation import entry_name
from protocols.imap.wire.parser import ParseError, Parser
from protocols.imap.wire.response import astring, literal, mailbox_name, nstring

MAX_ASKED = 100  # entries in one command


@dataclass(frozen=True, slots=True)
class Options:
    """`depth`: levels below the entries, None for all (RFC 5464 §4.2.2). `most`: octets of a value (§4.2.1)."""

    depth: int | None = 0
    most: int | None = None


def options(parser: Parser) -> Options:
    """ "(" getmetadata-option *(SP getmetadata-option) ")"."""
    given: dict[str, int | None] = dict(parser.list_of(lambda: _option(parser)))
    return Options(given.get("DEPTH", 0), given.get("MAXSIZE"))


def options_follow(parser: Parser) -> bool:
    """Whether the list here is one of options, which begin with a letter; entries do not."""
    return parser.peek() == ord("(") and chr(parser.peek_behind()).isalpha()


def _option(parser: Parser) -> tuple[str, int | None]:
    name = parser.keyword()
    if name not in ("MAXSIZE", "DEPTH"):
        raise ParseError("Unknown option")
    parser.sp()
    if name == "MAXSIZE":
        return name, parser.number()
    depth = parser.keyword()
    if depth not in ("0", "1", "INFINITY"):
        raise ParseError("DEPTH is 0, 1 or infinity")
    return name, None if depth == "INFINITY" else int(depth)


def entry(parser: Parser) -> str:
    """entry = astring, in lower case."""
    try:
        return entry_name(parser.astring().decode("ascii"))
    except (UnicodeDecodeError, InvalidInput):
        raise ParseError("Invalid entry name") from None


def entries(parser: Parser) -> tuple[str, ...]:
    """entries = entry / "(" entry *(SP entry) ")", each once."""
    names = parser.list_of(lambda: entry(parser)) if parser.peek() == ord("(") else [entry(parser)]
    if len(names) > MAX_ASKED:
        raise ParseError("Too many entries")
    return tuple(dict.fromkeys(names))


def value(parser: Parser) -> bytes | None:
    """value = nstring / literal8; None for NIL."""
    if parser.peek() != ord("{"):
        return parser.nstring()
    octets = parser.literal()
    if not isinstance(octets, bytes):
        raise ParseError("This literal cannot be used as a value")
    return octets


def metadata_response(path: str, values: Iterable[tuple[str, bytes | None]], utf8: bool) -> bytes:
    """RFC 5464 §4.4.1; an empty `path` is the server."""
    pairs = b" ".join(b"%b %b" % (astring(name.encode("ascii")), _value(octets)) for name, octets in values)
    return b"METADATA %b (%b)" % (mailbox_name(path, utf8), pairs)


def metadata_changed(path: str, names: Iterable[str], utf8: bool) -> bytes:
    """RFC 5464 §4.4.2: without values; an empty `path` is the server."""
    return b"METADATA %b %b" % (mailbox_name(path, utf8), b" ".join(astring(name.encode("ascii")) for name in names))


def _value(octets: bytes | None) -> bytes:
    return b"~" + literal(octets) if octets is not None and b"\0" in octets else nstring(octets)
