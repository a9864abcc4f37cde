"""Commands out of a stream of octets: lines, literals and limits; the grammar is in `parser`.

A literal (RFC 3501 §4.3) makes one command of several lines, and the server must speak (`+ `) or refuse in the
middle. So the framer stops at every announcement and asks its caller.

Only CRLF ends a line. A bare LF or CR is answered `BAD` and everything up to the next CRLF is dropped: a relay that
lets a LF through inside an argument would otherwise let its user add commands. For the same reason octets that were
announced as a non-synchronising literal are never read as commands, whatever else is wrong with their line.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from protocols.imap.wire.syntax import ATOM_CHAR, TAG_CHAR
from protocols.wire.buffer import LineTooLong, ReceiveBuffer

KIB = 1024
MAX_TAG = 128  # octets; clients use up to about 40
MAX_NAME = 64  # octets of a command name
ENDLESS = (1 << 63) - 1  # stands for a literal size beyond 63 bits


@dataclass(frozen=True, slots=True)
class FramerLimits:
    """Octets, but for `max_literals`.

    `max_line`: one line without its CRLF (RFC 2683 §3.2.1.5 asks servers for at least 8,000; Dovecot takes 64 KiB).
    `max_literal`: one collected literal; streamed ones are limited by whoever streams them.
    `max_literals`: literals of one command, streamed ones too.
    `max_command`: all lines and collected literals of one command together.
    """

    max_line: int = 64 * KIB
    max_literal: int = 64 * KIB
    max_literals: int = 1000
    max_command: int = 256 * KIB


BEFORE_LOGIN = FramerLimits(max_line=8 * KIB, max_literal=8 * KIB, max_literals=64, max_command=8 * KIB)
AFTER_LOGIN = FramerLimits()


@dataclass(frozen=True, slots=True)
class Literal:
    """A collected literal. `binary`: literal8 (`~{n}`, RFC 3516), which may hold NUL."""

    data: bytes
    binary: bool = False


@dataclass(frozen=True, slots=True)
class StreamedLiteral:
    """Stands in the parts of a command for a literal whose octets came out as `LiteralData`."""

    size: int
    binary: bool = False


Part = bytes | Literal | StreamedLiteral


@dataclass(frozen=True, slots=True)
class Command:
    """One whole command.

    `name`: upper case; `UID` and the word after it are one name, `UID FETCH`.
    `parts`: what follows the name, from its SP on: text, literal, text, ... The announcement `{n}` is not in the text.
    `a LOGIN {1}..x y` has the parts `b" "`, `Literal(b"x")`, `b" y"`; `a NOOP` has `b""`.
    """

    tag: str
    name: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class CommandReady:
    command: Command


@dataclass(frozen=True, slots=True)
class LiteralAnnounced:
    """A line ended in `{size}`: answer with `accept_literal`, `stream_literal` or `refuse_literal`, then go on.

    `prefix`: the text of this line before the announcement; `parts`: all parts so far, that text included.
    `within_limits`: `accept_literal` is possible. `size` is `ENDLESS` for anything beyond 63 bits.
    """

    tag: str
    name: str
    size: int
    synchronising: bool
    binary: bool
    prefix: bytes
    parts: tuple[Part, ...]
    within_limits: bool


@dataclass(frozen=True, slots=True)
class LiteralData:
    """Some octets of a streamed literal, at least one."""

    data: bytes


@dataclass(frozen=True, slots=True)
class LiteralEnd:
    """The streamed literal is complete; the command goes on."""


@dataclass(frozen=True, slots=True)
class Drained:
    """A refused non-synchronising literal and the rest of its command are dropped."""

    tag: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """Not a command: answer `BAD`, with `*` for the tag when it is None. The framer skips what belongs to it."""

    tag: str | None
    text: str


@dataclass(frozen=True, slots=True)
class ContinuationLine:
    """The line asked for with `expect_line`, without its CRLF."""

    data: bytes


Event = CommandReady | LiteralAnnounced | LiteralData | LiteralEnd | Drained | Malformed | ContinuationLine


@dataclass(frozen=True, slots=True)
class _Announcement:
    start: int
    size: int
    synchronising: bool
    binary: bool


class _BadLine(Exception):
    """`line`: its octets, or the first of them; `ended`: its CRLF was read."""

    def __init__(self, text: str, line: bytes, ended: bool) -> None:
        self.text = text
        self.line = line
        self.ended = ended
        super().__init__(text)


class _State(Enum):
    COMMAND = auto()  # at the first line of a command
    DECIDE = auto()  # a literal waits for its answer
    COLLECT = auto()
    STREAM = auto()
    CONTINUE = auto()  # behind a literal, at the next line of the command
    DRAIN = auto()  # inside a literal nobody wants
    SKIP = auto()  # inside a line nobody wants
    LINE = auto()  # at a line that is no command


# RFC 3501 §9: command = tag SP (command-any / ...), each of which begins with an atom.
_TAG = TAG_CHAR + b"{1,%d}+" % MAX_TAG
_NAME = ATOM_CHAR + b"{1,%d}+" % MAX_NAME
_TAG_ALONE = re.compile(b"(" + _TAG + b")(?: |\\Z)")
_START = re.compile(b"(" + _TAG + b") (" + _NAME + b")(?!" + ATOM_CHAR + b")")
_UID_NAME = re.compile(rb" ([A-Za-z]{1,%d})(?= |\Z)" % MAX_NAME)


def _announcement(text: bytes) -> _Announcement | None:
    """The literal that a line ends with. No legal line ends so for another reason, hence no look at what is before.

    Digits may be without end: then, and when the `{` of a skipped line is lost, the size is `ENDLESS`.
    """
    # RFC 3501 §4.3, RFC 7888 §3: "{" number ["+"] "}" CRLF; RFC 3516 §4: literal8 has "~" in front.
    if not text.endswith(b"}"):
        return None
    start = text.rfind(b"{")
    digits = text[start + 1 : -1]
    synchronising = not digits.endswith(b"+")
    digits = digits.removesuffix(b"+")
    if not digits.isdigit():
        return None
    significant = digits.lstrip(b"0")
    size = ENDLESS if start < 0 or len(significant) > 18 else int(significant or b"0")
    binary = start > 0 and text[start - 1] == 0x7E
    return _Announcement(max(0, start - binary), size, synchronising, binary)


class Framer:
    """Feed octets, take events until None. One per connection, from the greeting to its end."""

    def __init__(self, limits: FramerLimits = BEFORE_LOGIN) -> None:
        self.limits = limits
        self._buffer = ReceiveBuffer()
        self._state = _State.COMMAND
        self._tag = ""
        self._name = ""
        self._parts: list[Part] = []
        self._size = 0
        self._literals = 0
        self._literal = _Announcement(0, 0, True, False)
        self._remaining = 0
        self._refused: str | None = None
        self._skips_plain_line = False
        self._steps: dict[_State, Callable[[], Event | None]] = {
            _State.COMMAND: self._read_command,
            _State.DECIDE: self._undecided,
            _State.COLLECT: self._collect,
            _State.STREAM: self._stream,
            _State.CONTINUE: self._read_continuation,
            _State.DRAIN: self._drain,
            _State.SKIP: self._skip,
            _State.LINE: self._read_line,
        }

    def feed(self, data: bytes) -> None:
        """Takes received octets; take all events out before feeding again, this is what bounds the buffer."""
        self._buffer.feed(data)

    def next_event(self) -> Event | None:
        """The next event, or None: feed more.

        Raises:
            RuntimeError: the last event was `LiteralAnnounced` and was not answered.
        """
        while True:
            state = self._state
            event = self._steps[state]()
            if event is not None or self._state is state:
                return event

    def accept_literal(self) -> None:
        """Collects the announced literal into the command. The caller writes `+ ` if it is synchronising.

        Raises:
            RuntimeError: nothing is announced, or it is not `within_limits`.
        """
        self._decided()
        if not self._within_limits():
            raise RuntimeError("the literal is over the limits")
        self._size += self._literal.size
        self._remaining = self._literal.size
        self._state = _State.COLLECT

    def stream_literal(self) -> None:
        """Gives the announced literal as `LiteralData`, then `LiteralEnd`; its size is the caller's to limit."""
        self._decided()
        self._remaining = self._literal.size
        self._state = _State.STREAM

    def refuse_literal(self) -> None:
        """Ends the command. Synchronising: the client sends no octets. Else they are dropped; `Drained` follows."""
        self._decided()
        tag = self._tag
        self._reset()
        if not self._literal.synchronising:
            self._refused = tag
            self._remaining = self._literal.size
            self._state = _State.DRAIN

    def expect_line(self) -> None:
        """Makes the next line a `ContinuationLine` (answers of AUTHENTICATE, DONE), under the same limits.

        If it breaks them the next event is `Malformed` without tag, and the line after it is a command again.
        """
        if self._state is not _State.COMMAND:
            raise RuntimeError("a command is not complete")
        self._state = _State.LINE

    def discard(self) -> None:
        """Drops what was received and not used (STARTTLS: nothing sent in plaintext is acted on after it)."""
        self._buffer.clear()
        self._reset()

    def _reset(self) -> None:
        self._state = _State.COMMAND
        self._tag = self._name = ""
        self._parts = []
        self._size = self._literals = self._remaining = 0
        self._refused = None
        self._skips_plain_line = False

    def _decided(self) -> None:
        if self._state is not _State.DECIDE:
            raise RuntimeError("no literal is announced")

    def _undecided(self) -> Event | None:
        raise RuntimeError("LiteralAnnounced was not answered")

    def _within_limits(self) -> bool:
        size = self._literal.size
        return size <= self.limits.max_literal and self._size + size <= self.limits.max_command

    def _take_line(self) -> bytes | None:
        """The next line without its CRLF, or None; raises _BadLine."""
        room = min(self.limits.max_line, max(0, self.limits.max_command - self._size))
        try:
            line = self._buffer.next_line(room + 2)
        except LineTooLong:
            raise _BadLine("Command line too long", self._buffer.peek(min(MAX_TAG + 1, room)), ended=False) from None
        if line is None:
            return None
        if not line.endswith(b"\r\n"):
            raise _BadLine("Lines end with CRLF", line[:-1], ended=False)
        text = line[:-2]
        if b"\r" in text or b"\0" in text:
            raise _BadLine("NUL or bare CR in a command line", text, ended=True)
        return text

    def _read_command(self) -> Event | None:
        try:
            text = self._take_line()
        except _BadLine as bad:
            return self._fail(_tag_of(bad.line), bad.text, bad.line if bad.ended else None)
        if text is None:
            return None
        start = _START.match(text)
        if start is None:
            tag = _tag_of(text)
            return self._fail(tag, "Bad tag" if tag is None else "Bad command name", text)
        self._tag = start[1].decode("ascii")
        name = start[2].upper()
        end = start.end()
        if name == b"UID" and (second := _UID_NAME.match(text, end)):
            name = b"UID " + second[1].upper()
            end = second.end()
        self._name = name.decode("ascii")
        self._size = end
        return self._take_text(text[end:])

    def _read_continuation(self) -> Event | None:
        try:
            text = self._take_line()
        except _BadLine as bad:
            return self._fail(self._tag, bad.text, bad.line if bad.ended else None)
        return None if text is None else self._take_text(text)

    def _take_text(self, text: bytes) -> Event:
        """One text part of the command: its end, or a literal."""
        self._size += len(text)
        literal = _announcement(text)
        if literal is None:
            command = Command(self._tag, self._name, (*self._parts, text))
            self._reset()
            return CommandReady(command)
        if self._literals == self.limits.max_literals:
            return self._fail(self._tag, "Too many literals", text)
        self._literals += 1
        self._literal = literal
        self._parts.append(text[: literal.start])
        self._state = _State.DECIDE
        return LiteralAnnounced(
            tag=self._tag,
            name=self._name,
            size=literal.size,
            synchronising=literal.synchronising,
            binary=literal.binary,
            prefix=text[: literal.start],
            parts=tuple(self._parts),
            within_limits=self._within_limits(),
        )

    def _read_line(self) -> Event | None:
        try:
            text = self._take_line()
        except _BadLine as bad:
            self._reset()
            if not bad.ended:
                self._skips_plain_line = True
                self._state = _State.SKIP
            return Malformed(None, bad.text)
        if text is None:
            return None
        self._state = _State.COMMAND
        return ContinuationLine(text)

    def _collect(self) -> Event | None:
        if len(self._buffer) < self._remaining:
            return None
        self._parts.append(Literal(self._buffer.take(self._remaining), self._literal.binary))
        self._state = _State.CONTINUE
        return None

    def _stream(self) -> Event | None:
        if not self._remaining:
            self._parts.append(StreamedLiteral(self._literal.size, self._literal.binary))
            self._state = _State.CONTINUE
            return LiteralEnd()
        data = self._buffer.take(self._remaining)
        self._remaining -= len(data)
        return LiteralData(data) if data else None

    def _drain(self) -> Event | None:
        self._remaining -= self._buffer.drop(self._remaining)
        if not self._remaining:
            self._state = _State.SKIP
        return None

    def _skip(self) -> Event | None:
        tail = self._buffer.skip_line()
        return None if tail is None else self._end_dropped_line(tail)

    def _fail(self, tag: str | None, text: str, line: bytes | None) -> Malformed:
        """Ends the command with Malformed. `line`: the complete line that was wrong; None: it must be skipped yet."""
        self._reset()
        if line is None:
            self._state = _State.SKIP
        else:
            self._end_dropped_line(line)
        return Malformed(tag, text)

    def _end_dropped_line(self, tail: bytes) -> Event | None:
        literal = None if self._skips_plain_line else _announcement(tail)
        if literal is not None and not literal.synchronising:
            self._remaining = literal.size
            self._state = _State.DRAIN
            return None
        tag = self._refused
        self._reset()
        return None if tag is None else Drained(tag)


def _tag_of(line: bytes) -> str | None:
    found = _TAG_ALONE.match(line)
    return found[1].decode("ascii") if found else None
