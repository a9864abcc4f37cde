"""APPEND (RFC 3501 §6.3.11) with APPENDUID (RFC 4315 §3), APPENDLIMIT (RFC 7889) and UTF8 (RFC 6855 §4).

The message is streamed into memory while its share of the octet budget is held; what cannot be stored is refused
before its first octet where the client waits for that.
"""

from dataclasses import dataclass
from datetime import datetime

from duckmail.errors import TooLarge
from duckmail.model.message import NewMessage
from protocols.imap.command import LOGGED_IN, Trait, command
from protocols.imap.reply import Reply, ok
from protocols.imap.session import Session
from protocols.imap.wire.framer import LiteralAnnounced, StreamedLiteral
from protocols.imap.wire.parser import ParseError, Parser
from protocols.imap.wire.response import append_uid

FREE_OCTETS = 64 * 1024  # a message up to this size needs no share of the budget


@dataclass(frozen=True, slots=True)
class _Message:
    """`literal`: which of the streamed literals of the command it is."""

    flags: tuple[str, ...]
    date: datetime | None
    literal: int


@dataclass(frozen=True, slots=True)
class _Arguments:
    path: str
    messages: tuple[_Message, ...]


def _parse(parser: Parser) -> _Arguments:
    """RFC 3502 §6.3.11: append = "APPEND" SP mailbox 1*append-message; one of them here."""
    parser.sp()
    path = parser.mailbox()
    return _Arguments(path, (_message(parser, 0),))


def _message(parser: Parser, number: int) -> _Message:
    """SP [flag-list SP] [date-time SP] literal."""
    parser.sp()
    flags: tuple[str, ...] = ()
    date: datetime | None = None
    if parser.peek() == ord("("):
        flags = parser.flag_list()
        parser.sp()
    if parser.peek() == ord('"'):
        date = parser.date_time()
        parser.sp()
    if parser.peek() in b"Uu":
        _utf8_literal(parser)
    else:
        _streamed(parser)
    return _Message(flags, date, number)


def _utf8_literal(parser: Parser) -> None:
    """RFC 6855 §4: "UTF8" SP "(" literal8 ")". Mail with raw UTF-8 headers is taken without it as well."""
    if parser.keyword() != "UTF8":
        raise ParseError("Expected a literal")
    if not parser.utf8:
        raise ParseError("UTF8 needs UTF8=ACCEPT")
    parser.sp()
    parser.expect(b"(")
    if not _streamed(parser).binary:
        raise ParseError("Expected a literal8")
    parser.expect(b")")


def _streamed(parser: Parser) -> StreamedLiteral:
    literal = parser.literal()
    if not isinstance(literal, StreamedLiteral):
        raise ParseError("Expected a literal")
    return literal


async def _announced(session: Session, event: LiteralAnnounced) -> bool:
    """The message: what its limit and the budget allow. A mailbox name sent as a literal is left to the framer.

    Raises:
        TooLarge: RFC 7889 §5: before any octet is sent, if the client waits.
        NotFound: so is a mailbox that does not exist told before a large message.
        Unavailable: no share of the budget. ParseError: what precedes the message is wrong.
    """
    if len(event.parts) == 1 and event.parts[0] == b" ":
        return False  # "APPEND" SP literal: the mailbox's name
    if session.uploads:
        return False  # a second message: MULTIAPPEND is not offered
    if event.size > session.settings.message_size:
        raise TooLarge
    if event.size > FREE_OCTETS:
        parser = Parser(event.parts, utf8=session.utf8)
        parser.sp()
        await session.mail.mailbox(parser.mailbox())
        hold = session.services.budget.reserve(event.size, session.settings.reserve_timeout)
        await session.upload_hold.enter_async_context(hold)
    return True


async def _run(session: Session, arguments: _Arguments) -> Reply:
    mail = session.mail
    messages = [
        NewMessage(await mail.prepare(session.uploads[message.literal]), message.flags, message.date)
        for message in arguments.messages
    ]
    appended = await mail.append(arguments.path, messages)
    code = append_uid(appended[0].uidvalidity, [message.uid for message in appended]).decode("ascii")
    return ok("APPEND completed", code)


APPEND = command("APPEND", LOGGED_IN, _parse, _run, Trait.TRY_CREATE, announced=_announced)
