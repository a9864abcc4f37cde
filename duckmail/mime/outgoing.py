"""What is done to a message's octets when it is submitted (RFC 6409 §8): its header is read, and changed in places.

The header is read strictly here, unlike elsewhere in this package: who may send depends on what From says, so what two
programs may read differently is refused. All that is not changed stays as it is, octet by octet.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from duckmail.mime.address import addresses
from duckmail.mime.header import unfold

MAX_HEADER = 256 << 10
"""Octets of the header section."""
MAX_FIELDS = 1000
MAX_MAILBOXES = 50
"""Mailboxes that From may name: each is looked up."""
MAX_BODY = 16 << 10
"""Octets of a From or Sender field."""
_MAX_NAME = 200  # octets of a display name that is kept when its address is replaced

# RFC 5322 §2.2: field-name = 1*ftext, §4.5: blanks before the colon; §2.2.3: lines that begin with a blank go on.
_FIELD = re.compile(rb"([!-9;-~]++)[ \t]*+:([^\r\n]*+\r\n(?:[ \t][^\r\n]*+\r\n)*+)")

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
# RFC 5322 §3.2.3, §3.2.4, with the UTF-8 of RFC 6532 §3.1. Dots are part of an atom, wherever they stand.
_ATOM = rb"[^\x00-\x20\x7f()<>@,;:\\\"\[\]]++"
_QUOTED = rb'"(?:[^"\\]|\\.)*+"'
_ADDRESS = rb"(?:" + _ATOM + rb"|" + _QUOTED + rb")@" + _ATOM
# A display name; some write an address there without quotes, which then has to be the sender's own too.
_NAME = rb"(?:(?:" + _ADDRESS + rb"|" + _ATOM + rb"|" + _QUOTED + rb")(?:[ \t]++|(?=<)))*+"
_MAILBOX = re.compile(rb"[ \t]*+(?:(" + _NAME + rb")<(" + _ADDRESS + rb")>|(" + _ADDRESS + rb"))[ \t]*+")
_IN_NAME = re.compile(rb"(" + _ADDRESS + rb")|" + _ATOM + rb"|" + _QUOTED)
_NO_COMMENT = re.compile(rb"(?:[^()\"\\]++|" + _QUOTED + rb")++")
_COMMENT = re.compile(rb"(?:[^()\\]++|\\.)++")
_ATOMS = re.compile(_ATOM + rb"(?: " + _ATOM + rb")*+")


class Malformed(ValueError):
    """The message cannot be sent as it is; the text is public."""


class HeaderField(NamedTuple):
    """Where a field is in the header section. `name`: in lower case. `body`: behind the colon."""

    name: bytes
    start: int
    body: int
    end: int


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message that is to be sent. `header`: its header section without the empty line. `ascii`: the whole message."""

    header: bytes
    fields: tuple[HeaderField, ...]
    ascii: bool

    def bodies(self, name: bytes) -> list[bytes]:
        """The bodies of the fields called `name` (lower case), on one line each, in order."""
        return [unfold(self.header[field.body : field.end]) for field in self.fields if field.name == name]


def read(raw: bytes | bytearray) -> Outgoing:
    """Reads the header section.

    Raises:
        Malformed: a line in it is no field, it has no end, it is too long; or there is a NUL in the message.
    """
    end = raw.find(b"\r\n\r\n", 0, MAX_HEADER)
    if end < 0:
        raise Malformed("The header section is too long" if len(raw) > MAX_HEADER else "The header section has no end")
    # RFC 5321 §4.5.2: NUL is no character of a message; some programs take it for the end of the text.
    if raw.find(0) >= 0:
        raise Malformed("The message has a NUL")
    header = bytes(raw[: end + 2])
    return Outgoing(header, tuple(_fields(header)), raw.isascii())


def _fields(header: bytes) -> Iterator[HeaderField]:
    position = 0
    for _ in range(MAX_FIELDS):
        match = _FIELD.match(header, position)
        if match is None:
            raise Malformed("The header section has a line that is no field")
        yield HeaderField(match[1].lower(), position, match.start(2), match.end())
        position = match.end()
        if position == len(header):
            return
    raise Malformed("The header section has too many fields")


def mailboxes(body: bytes) -> list[str]:
    """The addresses in an unfolded From or Sender body, in order: those of its mailboxes, and any in display names.

    Raises:
        Malformed: not a mailbox-list (RFC 5322 §3.6.2) that every program reads the same way. Groups (RFC 6854) are
            not taken.
    """
    if len(body) > MAX_BODY:
        raise Malformed("too long")
    value = _without_comments(body)
    found: list[str] = []
    position = 0
    while len(found) < MAX_MAILBOXES:
        match = _MAILBOX.match(value, position)
        if match is None:
            raise Malformed("not a list of mailboxes")
        found += [_decoded(inside[1]) for inside in _IN_NAME.finditer(match[1] or b"") if inside[1]]
        found.append(_decoded(match[2] or match[3]))
        position = match.end()
        if position == len(value):
            return found
        if value[position : position + 1] != b",":
            raise Malformed("not a list of mailboxes")
        position += 1
    raise Malformed("too many mailboxes")


def _decoded(address: bytes) -> str:
    try:
        text = address.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("an address is not UTF-8") from None
    # RFC 2047 §5: no encoded word within an address; a program that decodes one there sees another address.
    if "=?" in text:
        raise Malformed("an address has an encoded word")
    return text


def _without_comments(value: bytes) -> bytes:
    """`value` with a blank for each comment (RFC 5322 §3.2.2)."""
    if _CONTROL.search(value):
        raise Malformed("control characters")
    pieces: list[bytes] = []
    depth = position = 0
    while position < len(value):
        match = (_COMMENT if depth else _NO_COMMENT).match(value, position)
        if match is not None:
            pieces.append(b" " if depth else match[0])
            position = match.end()
            continue
        mark = value[position : position + 1]
        if mark not in (b"(", b")") or (mark == b")" and not depth):
            raise Malformed("a quote or a parenthesis without its other half")
        depth += 1 if mark == b"(" else -1
        pieces.append(b" ")
        position += 1
    if depth:
        raise Malformed("a parenthesis without its other half")
    return b"".join(pieces)


def with_address(body: bytes, address: str) -> bytes:
    """The body of a From or Sender field with the display name that `body` begins with, and `address` alone."""
    entries = addresses(body[:MAX_BODY])
    name = b""
    if entries:
        first = entries[0]
        # Words alone, or a group, are a name; `root` without a domain is one too.
        name = first.name or (b"" if first.host else first.mailbox) or b""
    phrase = _phrase(name)
    return (phrase + b" " if phrase else b"") + b"<" + address.encode() + b">"


def _phrase(name: bytes) -> bytes:
    text = _CONTROL.sub(b" ", name)[:_MAX_NAME].decode("utf-8", "ignore").strip().encode()
    if not text or _ATOMS.fullmatch(text):
        return text
    return b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def edit(
    raw: bytes | bytearray, outgoing: Outgoing, drop: frozenset[bytes], replace: Mapping[bytes, bytes], add: bytes
) -> bytes | bytearray:
    """The message without the fields called as `drop` says (lower case), with new ones.

    Args:
        raw: is used up: a bytearray is changed in place, since it may be large.
        replace: by name, the whole lines that stand in the place of a field.
        add: whole lines, behind all others.
    """
    header, pieces, kept = outgoing.header, [], 0
    for field in outgoing.fields:
        if field.name in drop or field.name in replace:
            pieces += [header[kept : field.start], replace.get(field.name, b"")]
            kept = field.end
    if not pieces and not add:
        return raw
    changed = b"".join((*pieces, header[kept:], add))
    if isinstance(raw, bytearray):
        raw[: len(header)] = changed
        return raw
    return changed + raw[len(header) :]
