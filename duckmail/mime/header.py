"""Header blocks: finding and selecting fields, unfolding, and RFC 2047 words.

A block is the octets of a header with or without its empty line. Field names are compared without ASCII case.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from duckmail.mime import charsets
from duckmail.mime.base64 import base64_octets

MAX_FIELDS = 10_000
"""Fields that `fields` gives: a header of 64 MiB may hold 20 million."""
INDEXED = 16384
"""Octets of a block whose fields are listed; a longer one is searched for each name."""

# RFC 5322 §2.2: field-name = 1*ftext, ftext = %d33-57 / %d59-126; §4.5 allows blanks before the colon.
_FIELD = re.compile(rb"^([!-9;-~]++)[ \t]*+:", re.MULTILINE)
_NAME = re.compile(rb"[!-9;-~]+")
_COLON = re.compile(rb"[ \t]*:")
# RFC 5322 §2.2.3: a line that starts with a blank continues the one before it.
_REST = re.compile(rb"[^\n]*+(?:\n[ \t][^\n]*+)*+\n?")
_NAME_AND_BODY = re.compile(_FIELD.pattern + b"(" + _REST.pattern + b")", re.MULTILINE)
# Line after line; one that is no field has no name.
_LINES = re.compile(rb"([!-9;-~]++)[ \t]*+:(" + _REST.pattern + rb")|\r?\n|[^\n]++\n?")
# RFC 2047 §2, more tolerant: blanks inside the text occur. RFC 2231 §5: charset*language.
_WORD = re.compile(rb"=\?([^?*\s]{1,64})(?:\*[^?\s]{0,64})?\?([BbQq])\?([^?]*)\?=")
_LF = ord("\n")  # an octet is found in bytes sooner than a string of one octet
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f]")
_ESCAPE = re.compile(rb"=([0-9A-Fa-f]{2})")


class Field(NamedTuple):
    """One field. `name`: as written. `raw`: all its lines with their ends. `value`: unfolded."""

    name: bytes
    raw: bytes
    value: bytes


def unfold(raw: bytes) -> bytes:
    """A field body on one line: line ends are left out (RFC 5322 §2.2.3), as are blanks around the whole."""
    value = raw.strip(b" \t\r\n")
    return value.replace(b"\r\n", b"").replace(b"\n", b"") if _LF in value else value


def fields(block: bytes) -> list[Field]:
    """The fields in order, at most `MAX_FIELDS`; lines that are no field are left out."""
    found: list[Field] = []
    at = 0
    while len(found) < MAX_FIELDS and (match := _FIELD.search(block, at)):
        at = _field_end(block, match.end())
        found.append(Field(match[1], block[match.start() : at], unfold(block[match.end() : at])))
    return found


class Lookup:
    """Finds fields by name in one block. Searching a long one costs no time and memory per field, only per hit.

    `strays`: lines that are no fields, the empty line at the end among them; -1 in a long block: not counted.
    """

    __slots__ = ("_bodies", "_lowered", "block", "strays")

    def __init__(self, block: bytes) -> None:
        self.block = block
        self._bodies: dict[bytes, list[bytes]] | None = None
        self.strays = -1
        if len(block) <= INDEXED:
            self._bodies, self.strays = _list_bodies(block)
        self._lowered = b""

    def first(self, name: bytes) -> bytes | None:
        """The unfolded body of the first field called `name` (lower case)."""
        if self._bodies is not None:
            bodies = self._bodies.get(name)
            return bodies[0] if bodies else None
        for _, start, end in self.spans(name):
            return unfold(self.block[start:end])
        return None

    def all(self, name: bytes) -> Sequence[bytes]:
        """The unfolded bodies of all fields called `name` (lower case)."""
        if self._bodies is not None:
            return self._bodies.get(name, [])
        return [unfold(self.block[start:end]) for _, start, end in self.spans(name)]

    def has_any(self, names: frozenset[bytes]) -> bool:
        """Whether there may be a field with one of the names (lower case); never false when there is."""
        return self._bodies is None or not names.isdisjoint(self._bodies)

    def spans(self, name: bytes) -> Iterator[tuple[int, int, int]]:
        """(field start, body start, field end) of each field called `name` (lower case), in order."""
        self._lowered = self._lowered or b"\n" + self.block.lower()
        at = 0
        while (at := self._lowered.find(b"\n" + name, at)) >= 0:
            # `_lowered` is one octet ahead, so the position of its LF is that of the field in `block`.
            colon = _COLON.match(self.block, at + len(name))
            if colon is None:
                at += 1
                continue
            end = _field_end(self.block, colon.end())
            yield at, colon.end(), end
            at = end


def _list_bodies(block: bytes) -> tuple[dict[bytes, list[bytes]], int]:
    """The unfolded bodies by name (lower case), and the number of lines that are no fields."""
    bodies: dict[bytes, list[bytes]] = {}
    strays = 0
    for name, body in _LINES.findall(block):
        if name:
            bodies.setdefault(name.lower(), []).append(unfold(body))
        else:
            strays += 1
    return bodies, strays


def _field_end(block: bytes, at: int) -> int:
    """The end of the field whose body `at` is in: after its last line's LF."""
    match = _REST.match(block, at)
    return match.end() if match else at


def select_fields(block: bytes, names: frozenset[bytes], invert: bool) -> bytes:
    """HEADER.FIELDS, or HEADER.FIELDS.NOT with `invert`: whole fields in their order and the empty line.

    `names`: in any case. Lines that are no field count as of no name. RFC 9051 §6.4.5.1: the delimiting blank line is
    always included, so a subset of nothing is just CRLF.
    """
    lines = _without_empty_line(block)
    spans = _spans(lines, {name.lower() for name in names if _NAME.fullmatch(name)})
    pieces: list[bytes] = []
    if invert:
        at = 0
        for start, end in spans:
            pieces.append(lines[at:start])
            at = end
        pieces.append(lines[at:])
    else:
        pieces.extend(lines[start:end] for start, end in spans)
    selected = b"".join(pieces)
    if selected and not selected.endswith(b"\n"):
        selected += b"\r\n"
    return selected + b"\r\n"


def _spans(lines: bytes, wanted: set[bytes]) -> list[tuple[int, int]]:
    """[start, end) of each field with one of the names (lower case), in order."""
    if len(lines) <= INDEXED:
        return [match.span() for match in _NAME_AND_BODY.finditer(lines) if match[1].lower() in wanted]
    lookup = Lookup(lines)
    return sorted((start, end) for name in wanted for start, _, end in lookup.spans(name))


def _without_empty_line(block: bytes) -> bytes:
    for end in (b"\r\n", b"\n"):
        if block.endswith(end):
            lines = block[: -len(end)]
            return lines if not lines or lines.endswith(b"\n") else block
    return block


def decode(value: bytes) -> str:
    """The text of an unfolded field body: RFC 2047 words decoded, raw octets read as UTF-8, controls as blanks.

    Words in an unknown charset stay as they are. Total; the result is always valid Unicode.
    """
    if value.isascii() and value.find(b"=?") < 0:
        text = value.decode("ascii")
        return text if text.isprintable() else _CONTROL.sub(" ", text)
    return _CONTROL.sub(" ", decode_words(value))


def may_have_words(octets: bytes) -> bool:
    """Whether RFC 2047 words may be in it. The "?" that most headers have not is found far sooner than two octets."""
    return b"?" in octets and b"=?" in octets


def decode_words(value: bytes) -> str:
    """As `decode`, for text that may have lines and controls, which stay."""
    if not may_have_words(value):
        return charsets.decode(value, "")
    pieces: list[str] = []
    run: list[bytes] = []  # octets of adjacent words: a character may be split between two of them
    run_charset = ""
    at = 0
    for match in _WORD.finditer(value):
        charset = match[1].decode("ascii", "replace").lower()
        if not charsets.known(charset):
            continue
        gap = value[at : match.start()]
        # RFC 2047 §6.2: blanks between two words are not shown.
        adjacent = bool(run) and not gap.strip(b" \t")
        if not adjacent or charset != run_charset:
            pieces.append(charsets.decode(b"".join(run), run_charset))
            run.clear()
        if not adjacent:
            pieces.append(charsets.decode(gap, ""))
        run.append(_word_octets(match[2], match[3]))
        run_charset = charset
        at = match.end()
    pieces.append(charsets.decode(b"".join(run), run_charset))
    pieces.append(charsets.decode(value[at:], ""))
    return "".join(pieces)


def _word_octets(encoding: bytes, text: bytes) -> bytes:
    if encoding in b"Bb":
        return base64_octets(text)
    # RFC 2047 §4.2: "_" is always hexadecimal 20.
    return _ESCAPE.sub(lambda match: bytes.fromhex(match[1].decode("ascii")), text.replace(b"_", b" "))
