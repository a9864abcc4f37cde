"""The primitives of the IMAP grammar over the parts of one command (RFC 3501 §9, RFC 9051 §9).

Every method reads one rule at the present place and moves behind it, or raises `ParseError` and the command is over:
there is no going back. Rules are regular expressions over octets, possessive where they repeat, so none backtracks.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TypeVar

from duckmail.model.flags import SYSTEM_FLAGS
from duckmail.model.mailbox import INBOX, SEPARATOR
from protocols.imap.wire import utf7
from protocols.imap.wire.framer import Literal, Part, StreamedLiteral
from protocols.imap.wire.sequence import SequenceSet
from protocols.imap.wire.syntax import ASTRING_CHAR, ATOM_CHAR, LIST_CHAR, MONTHS

T = TypeVar("T")

MAX_NESTING = 50
MAX_KEYWORD = 255  # octets; a keyword lives in its mailbox for good
MAX_32 = (1 << 32) - 1
MAX_63 = (1 << 63) - 1  # RFC 7162 §7: mod-sequences and number64 are 63-bit

END = 0
"""What `Parser.peek` gives at the end of the command: no octet of a text is NUL, and it may be looked up in `bytes`."""
_BRACE = 0x7B

_ATOM = re.compile(ATOM_CHAR + b"++")
_ASTRING = re.compile(ASTRING_CHAR + b"++")
_LIST_MAILBOX = re.compile(LIST_CHAR + b"++")
# quoted = DQUOTE *QUOTED-CHAR DQUOTE. Octets above 127 pass here: RFC 6855 allows UTF-8 in them, and clients send it
# in LOGIN and SEARCH without asking. Whoever uses the octets says which charset they must be in.
_QUOTED = re.compile(rb'"([^"\\\x00\r\n]*+(?:\\["\\][^"\\\x00\r\n]*+)*+)"')
_DIGITS = re.compile(rb"[0-9]++")
_SEQUENCE_SET = re.compile(rb"[0-9*:,]++|\$")
_OBJECT_ID = re.compile(rb"[A-Za-z0-9_-]{1,255}+(?![A-Za-z0-9_-])")
_MONTH = rb"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_DATE = re.compile(rb'("?)([0-9]{1,2})-' + _MONTH + rb"-([0-9]{4})\1", re.IGNORECASE)
_DATE_TIME = re.compile(
    rb'"( [0-9]|[0-9]{2})-' + _MONTH + rb'-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-5][0-9])"',
    re.IGNORECASE,
)
_MONTH_NUMBERS = {month.upper().encode(): number for number, month in enumerate(MONTHS, start=1)}
_SYSTEM_NAMES = {name.lower(): name for name in SYSTEM_FLAGS}


class ParseError(Exception):
    """The command breaks the grammar: `BAD`. `text` is public, one line, and repeats nothing the client sent."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(text)


class Parser:
    """A place in one command.

    Args:
        parts: `Command.parts`; they begin with the SP behind the command's name, so a grammar begins with `sp()`.
        utf8: mailbox names are UTF-8 (RFC 6855 §3, RFC 9051 §5.1).
        any_charset: SEARCH may name a charset other than UTF-8, as by default it may unless `utf8`.
    """

    def __init__(self, parts: Sequence[Part], utf8: bool = False, any_charset: bool | None = None) -> None:
        self.utf8 = utf8
        self.any_charset = not utf8 if any_charset is None else any_charset
        self._parts = parts
        self._index = 0  # of the text part we are in; behind each but the last stands a literal
        self._text = self._text_at(0)
        self._at = 0
        self._depth = 0

    def _text_at(self, index: int) -> bytes:
        part = self._parts[index] if index < len(self._parts) else b""
        return part if isinstance(part, bytes) else b""

    def _literal_here(self) -> Literal | StreamedLiteral | None:
        """The literal that begins at this place."""
        if self._at < len(self._text) or self._index + 1 >= len(self._parts):
            return None
        part = self._parts[self._index + 1]
        return None if isinstance(part, bytes) else part

    def _leave_literal(self) -> None:
        self._index += 2
        self._text = self._text_at(self._index)
        self._at = 0

    def match(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        """Moves behind `pattern` if it matches here, inside one text part."""
        found = pattern.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
        return found

    def peek(self) -> int:
        """The octet here; `{` at a literal, END at the end."""
        if self._at < len(self._text):
            return self._text[self._at]
        return END if self._literal_here() is None else _BRACE

    def peek_behind(self) -> int:
        """The octet behind the one here, END where a literal or the end is."""
        return self._text[self._at + 1] if self._at + 1 < len(self._text) else END

    def at_end(self) -> bool:
        return self.peek() == END

    def end(self) -> None:
        if not self.at_end():
            raise ParseError("Unexpected arguments")

    def try_byte(self, octet: bytes) -> bool:
        """Moves over `octet` if it is here."""
        if not self._text.startswith(octet, self._at):
            return False
        self._at += len(octet)
        return True

    def expect(self, octet: bytes) -> None:
        if not self.try_byte(octet):
            raise ParseError("Missing arguments" if self.at_end() else f"Expected {octet.decode('ascii')!r}")

    def sp(self) -> None:
        if not self.try_byte(b" "):
            raise ParseError("Missing arguments" if self.at_end() else "Expected a space")

    def atom(self) -> str:
        return self._required(_ATOM, "Expected an atom").decode("ascii")

    def keyword(self) -> str:
        """An atom in upper case: command words, search keys, item names."""
        return self.atom().upper()

    def astring(self) -> bytes:
        # astring = 1*ASTRING-CHAR / string
        found = self.match(_ASTRING)
        return found[0] if found else self.string()

    def string(self) -> bytes:
        """A quoted string's value, or a literal's octets (RFC 3501 §9: no NUL; RFC 3516 §4: literal8 is no string)."""
        literal = self._literal_here()
        if literal is None:
            found = self.match(_QUOTED)
            if found is None:
                raise ParseError("Missing arguments" if self.at_end() else "Expected a string")
            # Backslashes come in pairs or before DQUOTE only, and NUL does not come at all.
            return found[1].replace(b"\\\\", b"\0").replace(b"\\", b"").replace(b"\0", b"\\")
        if not isinstance(literal, Literal) or literal.binary or b"\0" in literal.data:
            raise ParseError("This literal cannot be used as a string")
        self._leave_literal()
        return literal.data

    def nstring(self) -> bytes | None:
        """A string, or None for NIL."""
        if self.peek() not in (0x22, _BRACE):
            if self.keyword() != "NIL":
                raise ParseError("Expected a string or NIL")
            return None
        return self.string()

    def literal(self) -> bytes | StreamedLiteral:
        """A literal or literal8: its octets, or its placeholder when it was streamed."""
        literal = self._literal_here()
        if literal is None:
            raise ParseError("Missing arguments" if self.at_end() else "Expected a literal")
        self._leave_literal()
        return literal.data if isinstance(literal, Literal) else literal

    def _required(self, pattern: re.Pattern[bytes], text: str) -> bytes:
        found = self.match(pattern)
        if found is None:
            raise ParseError("Missing arguments" if self.at_end() else text)
        return found[0]

    def _integer(self, limit: int, text: str) -> int:
        digits = self._required(_DIGITS, text)
        if len(digits) > 20 or int(digits) > limit:
            raise ParseError("Number too large")
        return int(digits)

    def number(self) -> int:
        """RFC 3501 §9: 0 <= n < 4,294,967,296."""
        return self._integer(MAX_32, "Expected a number")

    def nz_number(self) -> int:
        """RFC 3501 §9: digit-nz *DIGIT, so no zero in front."""
        if self.peek() == 0x30:
            raise ParseError("Expected a number above 0")
        return self._integer(MAX_32, "Expected a number")

    def number64(self) -> int:
        """RFC 9051 §9: 63 bits; also mod-sequence-valzer (RFC 7162 §7)."""
        return self._integer(MAX_63, "Expected a number")

    def mailbox(self) -> str:
        """A mailbox name, decoded, INBOX as first level in one spelling; the product's name rules are not checked."""
        return self._mailbox_name(self.astring())

    def list_mailbox(self) -> str:
        """A pattern of LIST or LSUB, decoded like a name; `%` and `*` in it are wildcards (RFC 3501 §6.3.8)."""
        found = self.match(_LIST_MAILBOX)
        return self._mailbox_name(found[0] if found else self.string())

    def _mailbox_name(self, octets: bytes) -> str:
        try:
            # RFC 6855 §3: with UTF8=ACCEPT names are UTF-8 and `&` means itself; RFC 3501 §5.1: otherwise 7-bit.
            name = octets.decode("utf-8") if self.utf8 else utf7.decode(octets)
        except ValueError:
            raise ParseError("Mailbox name is not in valid " + ("UTF-8" if self.utf8 else "modified UTF-7")) from None
        first, separator, rest = name.partition(SEPARATOR)
        # RFC 3501 §5.1: INBOX is case-insensitive.
        return INBOX + separator + rest if first.upper() == INBOX else name

    def flag(self) -> str:
        """A system flag in its usual spelling, or a keyword as written.

        RFC 3501 §9: flag-extension is for flags of future standards; `\\Recent` is not a flag that a client gives.
        """
        if self.try_byte(b"\\"):
            name = _SYSTEM_NAMES.get("\\" + self.atom().lower())
            if name is None:
                raise ParseError("Unknown system flag")
            return name
        name = self.atom()
        if len(name) > MAX_KEYWORD:
            raise ParseError("Keyword too long")
        return name

    def flag_list(self) -> tuple[str, ...]:
        """flag-list = "(" [flag *(SP flag)] ")"."""
        return tuple(self.list_of(self.flag, empty=True))

    def store_flags(self) -> tuple[str, ...]:
        """store-att-flags: a flag-list, or flags without parentheses."""
        if self.peek() == 0x28:
            return self.flag_list()
        flags = [self.flag()]
        while self.try_byte(b" "):
            flags.append(self.flag())
        return tuple(flags)

    def sequence_set(self) -> SequenceSet:
        try:
            return SequenceSet.parse(self._required(_SEQUENCE_SET, "Expected a message set"))
        except ValueError:
            raise ParseError("Invalid message set") from None

    def object_id(self) -> str:
        """objectid = 1*255(ALPHA / DIGIT / "_" / "-") (RFC 8474 §7)."""
        return self._required(_OBJECT_ID, "Expected an object identifier").decode("ascii")

    def date(self) -> date:
        """date = date-text / DQUOTE date-text DQUOTE; date-text = date-day "-" date-month "-" date-year."""
        found = self.match(_DATE)
        if found is None:
            raise ParseError("Missing arguments" if self.at_end() else "Expected a date")
        try:
            return date(int(found[4]), _MONTH_NUMBERS[found[3].upper()], int(found[2]))
        except ValueError:
            raise ParseError("No such date") from None

    def date_time(self) -> datetime:
        """DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE: aware, in the zone written."""
        found = self.match(_DATE_TIME)
        if found is None:
            raise ParseError("Missing arguments" if self.at_end() else "Expected a date and time")
        day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = found.groups()
        try:
            offset = timedelta(hours=int(zone_hours), minutes=int(zone_minutes))
            moment = datetime(
                int(year),
                _MONTH_NUMBERS[month.upper()],
                int(day),
                int(hour),
                int(minute),
                int(second),
                tzinfo=timezone(-offset if sign == b"-" else offset),
            )
            moment.astimezone(UTC)  # a moment just outside the years 1 to 9999 is refused here, not in the store
        except (ValueError, OverflowError):
            raise ParseError("No such date and time") from None
        return moment

    def list_of(self, item: Callable[[], T], *, empty: bool = False) -> list[T]:
        """ "(" item *(SP item) ")"; with `empty` also "()"."""
        items: list[T] = []
        with self.nested():
            self.expect(b"(")
            if empty and self.try_byte(b")"):
                return items
            items.append(item())
            while self.try_byte(b" "):
                items.append(item())
            self.expect(b")")
        return items

    @contextmanager
    def nested(self) -> Iterator[None]:
        """One level of nesting deeper, for grammars that call themselves; ParseError beyond MAX_NESTING."""
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise ParseError("Nested too deeply")
        yield
        self._depth -= 1
