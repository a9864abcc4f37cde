"""What APPEND and REPLACE are given (RFC 3501 §6.3.11, RFC 3502, RFC 4466 §2.3, RFC 4469, RFC 3516 §4.4, RFC 6855 §4).

The octets of messages are streamed past the grammar; here stands which of the streamed literals is which.
"""

from dataclasses import dataclass
from datetime import datetime

from protocols.imap.wire.framer import StreamedLiteral
from protocols.imap.wire.parser import ParseError, Parser


@dataclass(frozen=True, slots=True)
class Streamed:
    """The `number`-th streamed literal of the command, from 0."""

    number: int


@dataclass(frozen=True, slots=True)
class AppendMessage:
    """`parts`: what the message is put together from, in order; a `str` is the URL of a part (CATENATE). `binary`: some
    of it came as literal8 and may hold NUL."""

    flags: tuple[str, ...]
    date: datetime | None
    parts: tuple[Streamed | str, ...]
    binary: bool


def append_messages(parser: Parser) -> tuple[AppendMessage, ...]:
    """1*append-message (RFC 3502 §6.3.11), behind the mailbox."""
    reader = _Reader(parser)
    messages = [reader.message()]
    while not parser.at_end():
        messages.append(reader.message())
    return tuple(messages)


def append_message(parser: Parser) -> AppendMessage:
    """One append-message."""
    return _Reader(parser).message()


class _Reader:
    def __init__(self, parser: Parser) -> None:
        self._p = parser
        self._literals = 0

    def message(self) -> AppendMessage:
        """append-message = append-opts SP append-data; append-opts = [SP flag-list] [SP date-time]."""
        p = self._p
        p.sp()
        flags: tuple[str, ...] = ()
        date: datetime | None = None
        if p.peek() == ord("("):
            flags = p.flag_list()
            p.sp()
        if p.peek() == ord('"'):
            date = p.date_time()
            p.sp()
        parts, binary = self._data()
        return AppendMessage(flags, date, parts, binary)

    def _data(self) -> tuple[tuple[Streamed | str, ...], bool]:
        """literal / literal8 / "UTF8" SP "(" literal8 ")" / "CATENATE" SP "(" cat-part *(SP cat-part) ")"."""
        if self._p.peek() not in b"UuCc":
            part, binary = self._literal()
            return (part,), binary
        word = self._p.keyword()
        self._p.sp()
        if word == "UTF8":
            return (self._utf8(),), True
        if word != "CATENATE":
            raise ParseError("Expected a literal")
        found = self._p.list_of(self._cat_part)
        return tuple(part for part, _ in found), any(binary for _, binary in found)

    def _cat_part(self) -> tuple[Streamed | str, bool]:
        """cat-part = "TEXT" SP literal / "URL" SP astring / "UTF8" SP "(" literal8 ")" (RFC 4469 §5, RFC 6855 §4)."""
        word = self._p.keyword()
        self._p.sp()
        if word == "URL":
            try:
                return self._p.astring().decode("ascii"), False
            except UnicodeDecodeError:
                raise ParseError("A URL is ASCII") from None
        if word == "UTF8":
            return self._utf8(), True
        if word != "TEXT":
            raise ParseError("Expected TEXT or URL")
        return self._literal()

    def _utf8(self) -> Streamed:
        # RFC 6855 §4: mail with raw UTF-8 headers is taken without it as well.
        if not self._p.utf8:
            raise ParseError("UTF8 needs UTF8=ACCEPT")
        self._p.expect(b"(")
        part, binary = self._literal()
        if not binary:
            raise ParseError("Expected a literal8")
        self._p.expect(b")")
        return part

    def _literal(self) -> tuple[Streamed, bool]:
        literal = self._p.literal()
        if not isinstance(literal, StreamedLiteral):
            raise ParseError("Expected a literal")
        self._literals += 1
        return Streamed(self._literals - 1), literal.binary
