"""The scanner: one linear pass over a message that finds where its parts are.

It looks only at headers and at lines that start with two hyphens, copies nothing larger than a header, and never fails.
"""

import re
from mmap import mmap
from typing import NamedTuple

from duckmail.mime import parameters
from duckmail.mime.header import INDEXED, Lookup
from duckmail.mime.index import LEAF, MESSAGE, MULTIPART, Index, Kind, Node
from duckmail.mime.message import Message, Raw, message_of

MAX_DEPTH = 100
"""Nodes above one another. A composite part at the limit is one leaf of unknown octets."""
MAX_PARTS = 10_000
"""Nodes. The part that reaches it is one leaf of unknown octets up to the end of the message."""
MAX_DELIMITERS = 500_000
"""Lines with two hyphens that are looked at (about half a second); behind them the last part goes on to the end."""
MAX_BOUNDARY = 500
"""Octets. RFC 2046 §5.1.1 allows 70."""

_LF = ord("\n")
_LINE = MAX_BOUNDARY + 100
_STEP = 65536
_CHECKED = 256 << 10  # octets of a header that are looked at for lines that are no fields
_COUNT_STEP = 1 << 20

# RFC 5322 §2.2 fields with their continuation lines; possessive, so linear.
_FIELDS = re.compile(rb"(?:[!-9;-~]++[ \t]*+:[^\n]*+\n?(?:[ \t][^\n]*+\n?)*+)*+")
_EMPTY_LINE = re.compile(rb"\n\r?\n")
_HYPHENS = re.compile(rb"\n--")  # in text found in a third of the time that `find` takes
_LATER_FIELD = re.compile(rb"\n[!-9;-~]++[ \t]*+:")


def scan(raw: Raw | Message) -> Index:
    """Where the parts of the message are."""
    return _Scanner(message_of(raw)).run()


class _Delimiter(NamedTuple):
    """A delimiter line. `level`: position in the stack of the multipart it belongs to. [start, end): with its LF."""

    level: int
    closes: bool
    start: int
    end: int


class _Described(NamedTuple):
    """What a header says of its body."""

    kind: Kind
    type: str
    subtype: str
    encoding: str
    boundary: bytes


_PLAIN = _Described(LEAF, "text", "plain", "7bit", b"")
_UNKNOWN = _Described(LEAF, "application", "octet-stream", "7bit", b"")


class _Entity:
    """A node in the making. `boundary`: b"" when it has no parts."""

    __slots__ = (
        "body_end", "body_start", "boundary", "encoding", "header_start",
        "kind", "parent", "position", "subtype", "type",
    )  # fmt: skip

    def __init__(self, position: int, parent: int, header_start: int, body_start: int, described: _Described) -> None:
        self.position = position
        self.parent = parent
        self.header_start = header_start
        self.body_start = self.body_end = body_start
        self.kind, self.type, self.subtype, self.encoding, self.boundary = described

    def node(self, lines: int) -> Node:
        return Node(
            self.parent,
            self.kind,
            self.header_start,
            self.body_start,
            self.body_end,
            lines,
            self.type,
            self.subtype,
            self.encoding,
        )


class _Scanner:
    """State of one pass. Positions only move forward, and what was found ahead is remembered: no search is repeated."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.raw = message.octets
        self.end = len(self.raw)
        self.entities: list[_Entity] = []
        self.stack: list[_Entity] = []  # those whose end is not known yet
        self.levels: dict[bytes, int] = {}  # boundary -> position in the stack
        self.has_messages = False
        self.looked_at = 0
        self.floor = 0  # the end of the header of the last part; no body ends before it
        self._hyphens = -1  # the next line that starts with two hyphens
        self._blank = -1  # the next empty line: the LF of the line before it

    def run(self) -> Index:
        position = self._enter(-1, 0)
        while self.levels and (delimiter := self._next_delimiter(position)):
            self._leave(delimiter.level + 1, self._before(delimiter.start))
            position = delimiter.end
            owner = self.stack[delimiter.level]
            if delimiter.closes:
                self._close(owner, delimiter.start)
            elif len(self.entities) < MAX_PARTS:
                position = self._enter(owner.position, position)
            else:
                self._add_leaf(owner.position, position, self.end, _UNKNOWN)
                break
        self._leave(0, self.end)
        return Index(self._nodes())

    # -- entities

    def _enter(self, parent: int, start: int) -> int:
        """Adds the entity at `start` and the messages directly in it; the start of the innermost body."""
        in_message = False
        while True:
            body, header = self._header(start)
            if not in_message:
                self.floor = body
            described = _describe(header, self._in_digest(parent))
            if described.kind is not LEAF and not self._has_room():
                described = _UNKNOWN._replace(encoding=described.encoding)
            entity = _Entity(len(self.entities), parent, start, body, described)
            if entity.boundary and self.levels.setdefault(entity.boundary, len(self.stack)) != len(self.stack):
                entity.boundary = b""  # an outer multipart has the same: its delimiters end this one
            self.entities.append(entity)
            self.stack.append(entity)
            if entity.kind is not MESSAGE:
                return body
            self.has_messages = in_message = True
            parent, start = entity.position, body

    def _has_room(self) -> bool:
        """For one more entity that has others in it."""
        return len(self.stack) < MAX_DEPTH - 1 and len(self.entities) < MAX_PARTS

    def _in_digest(self, parent: int) -> bool:
        return parent >= 0 and self.entities[parent].subtype == "digest" and self.entities[parent].type == "multipart"

    def _leave(self, level: int, end: int) -> None:
        """Ends all entities from stack position `level` on. `end`: where the innermost body ends.

        The line end before a delimiter may also be the empty line of a part's header: it stays in the header, and the
        body is empty. What is embedded in a part ends with it, its header too.
        """
        end = max(end, self.floor)
        while len(self.stack) > level:
            entity = self.stack.pop()
            if entity.boundary:
                self.levels.pop(entity.boundary, None)
            if end < entity.body_start:
                entity.header_start = min(entity.header_start, end)
                entity.body_start = end
            entity.body_end = end
            if entity.kind is MULTIPART and len(self.entities) == entity.position + 1:
                # No delimiter at all: the boundary is wrong. The body is the one part, so that its text is seen.
                self._add_leaf(entity.position, entity.body_start, end, _PLAIN)

    def _close(self, owner: _Entity, start: int) -> None:
        """The close delimiter at `start` was seen: what follows is epilogue."""
        del self.levels[owner.boundary]
        if len(self.entities) == owner.position + 1:
            # RFC 9051 §9 body-type-mpart: 1*body. No part becomes one empty part.
            self._add_leaf(owner.position, start, start, _PLAIN)

    def _add_leaf(self, parent: int, start: int, end: int, described: _Described) -> None:
        entity = _Entity(len(self.entities), parent, start, start, described)
        entity.body_end = end
        self.entities.append(entity)

    # -- lines

    def _next_delimiter(self, position: int) -> _Delimiter | None:
        """The first delimiter line at or behind `position`, a line start, of any multipart still open."""
        while (start := self._next_hyphens(position)) < self.end:
            if delimiter := self._delimiter_at(start):
                return delimiter
            position = start + 2
        return None

    def _delimiter_at(self, start: int) -> _Delimiter | None:
        """The delimiter line at `start`, where two hyphens are, if it is one.

        RFC 2046 §5.1.1: it is all of its line but for blanks at the end, so a longer boundary with the same
        beginning is another one. Of two readings the outer multipart's holds: its delimiters end all inside.
        """
        self.looked_at += 1
        end = self.raw.find(b"\n", start, start + 2 + _LINE) + 1
        if not end:
            if start + 2 + _LINE < self.end:
                return None
            end = self.end
        line = bytes(self.raw[start + 2 : end]).rstrip(b" \t\r\n")
        level = self.levels.get(line, -1)
        if line.endswith(b"--"):
            closed = self.levels.get(line[:-2], -1)
            if closed >= 0 and (level < 0 or closed < level):
                return _Delimiter(closed, True, start, end)
        return _Delimiter(level, False, start, end) if level >= 0 else None

    def _next_hyphens(self, position: int) -> int:
        """The first line start at or behind `position` (> 0) with two hyphens, or the end of the message."""
        if self._hyphens >= position:
            return self._hyphens
        self._hyphens = self.end
        if self.looked_at >= MAX_DELIMITERS:
            return self.end
        at = position - 1
        while at < self.end:
            stop = at + _STEP
            # Searching one octet is ten times as fast as three, and base64 has no hyphen.
            hyphen = self.raw.find(b"-", at, stop)
            if hyphen >= 0:
                found = _HYPHENS.search(self.raw, max(at, hyphen - 1), stop + 2)
                if found:
                    self._hyphens = found.start() + 1
                    break
            at = stop - 1
        return self._hyphens

    def _before(self, delimiter: int) -> int:
        """RFC 2046 §5.1.1: the line end before a delimiter line belongs to the delimiter."""
        return delimiter - 2 if self.raw[delimiter - 2 : delimiter - 1] == b"\r" else delimiter - 1

    def _header(self, start: int) -> tuple[int, Lookup]:
        """Where the body of the entity at `start` begins, and its header."""
        limit = min(start + INDEXED, self._next_hyphens(start)) if self.levels else start + INDEXED
        # Nearly always: nothing but fields up to the empty line.
        if empty := _EMPTY_LINE.search(self.raw, start, limit):
            lookup = self.message.header_at(start, empty.end())
            if lookup.strays == 1:
                return empty.end(), lookup
        body = self._odd_header_end(start)
        return body, self.message.header_at(start, body)

    def _odd_header_end(self, start: int) -> int:
        """Behind the first empty line (RFC 5322 §2.1), or at a delimiter before that.

        A header whose first lines are no fields is none, and lines that are no fields end it where nothing but such
        lines follow: the empty line was forgotten. Among fields they are only passed over ("From " of mailbox files,
        badly folded fields).
        """
        first = bytes(self.raw[start : start + 2])
        if first[:1] == b"\n":
            return start + 1
        if first == b"\r\n":
            return start + 2
        lines_end, body = self._empty_line(start)
        if self.levels:
            at = start
            while (candidate := self._next_hyphens(at)) < lines_end:
                if self._delimiter_at(candidate):
                    lines_end = body = candidate
                    break
                at = candidate + 2
        limit = min(lines_end, start + _CHECKED)
        match = _FIELDS.match(self.raw, start, limit)
        stop = match.end() if match else start
        if stop == limit or (stop > start and limit < lines_end) or _LATER_FIELD.search(self.raw, stop, limit):
            return body
        return stop

    def _empty_line(self, start: int) -> tuple[int, int]:
        """The ends of the line before the next empty line and of that line itself, or the end of the message."""
        if self._blank < start:
            self._blank = self._find_empty_line(start)
        at = self._blank
        if at == self.end:
            return at, at
        return at + 1, at + (2 if self.raw[at + 1] == _LF else 3)

    def _find_empty_line(self, at: int) -> int:
        step = 4096
        while at < self.end:
            stop = at + step
            crlf = self.raw.find(b"\n\r\n", at, stop + 2)
            found = self.raw.find(b"\n\n", at, crlf + 1 if crlf >= 0 else stop + 1)
            if found >= 0 or crlf >= 0:
                return found if found >= 0 else crlf
            at = stop
            step = min(step * 2, _COUNT_STEP)
        return self.end

    def _nodes(self) -> list[Node]:
        before = self._lines_before() if self.has_messages else None
        nodes: list[Node] = []
        for entity in self.entities:
            lines = 0
            if entity.type == "text" or entity.kind is MESSAGE:
                start, end = entity.body_start, entity.body_end
                lines = self._count(start, end) if before is None else before[end] - before[start]
                if end > start and self.raw[end - 1] != _LF:
                    lines += 1
            nodes.append(entity.node(lines))
        return nodes

    def _lines_before(self) -> dict[int, int]:
        """LFs before the ends of bodies, as far as they are in one.

        Where there are messages, bodies lie in one another; every octet is counted once.
        """
        counted = [entity for entity in self.entities if entity.type == "text" or entity.kind is MESSAGE]
        before: dict[int, int] = {}
        total = previous = covered = 0
        ends = {entity.body_start: entity.body_end for entity in reversed(counted)}
        for point in sorted({*ends, *[entity.body_end for entity in counted]}):
            if previous < covered:
                total += self._count(previous, point)
            before[point] = total
            covered = max(covered, ends.get(point, 0))
            previous = point
        return before

    def _count(self, start: int, end: int) -> int:
        lines = 0
        for at in range(start, end, _COUNT_STEP):
            stop = min(at + _COUNT_STEP, end)
            if isinstance(self.raw, mmap):  # it has no count
                lines += self.raw[at:stop].count(b"\n")
            else:
                lines += self.raw.count(b"\n", at, stop)
        return lines


def _describe(lookup: Lookup, in_digest: bool) -> _Described:
    encoding = parameters.token(lookup.first(b"content-transfer-encoding") or b"") or "7bit"
    declared = lookup.first(b"content-type")
    if declared is None:
        # RFC 2046 §5.1.5: the default inside a digest is message/rfc822.
        structured = parameters.Structured("message/rfc822" if in_digest else "text/plain")
    else:
        structured = parameters.media_type(declared)
    type_, _, subtype = structured.value.partition("/")
    if type_ == "multipart":
        parameter = structured.parameter("boundary")
        boundary = parameter.value.rstrip() if parameter else b""
        if 0 < len(boundary) <= MAX_BOUNDARY:
            return _Described(MULTIPART, type_, subtype, encoding, boundary)
        type_ = ""
    # RFC 2046 §5.2.1: message/rfc822 is never encoded. One that is, is left as a leaf.
    if type_ == "message" and subtype in ("rfc822", "global") and encoding in ("7bit", "8bit", "binary"):
        return _Described(MESSAGE, type_, subtype, encoding, b"")
    if not type_:
        type_, subtype = "text", "plain"  # RFC 2045 §5.2
    return _Described(LEAF, type_, subtype, encoding, b"")
