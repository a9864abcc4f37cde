"""APPEND (RFC 3501 §6.3.11) with APPENDUID (RFC 4315 §3), APPENDLIMIT (RFC 7889), MULTIAPPEND (RFC 3502: all messages
of a command or none), CATENATE (RFC 4469), literal8 (RFC 3516 §4.4) and UTF8 (RFC 6855 §4, kept by RFC 9755)."""

from dataclasses import dataclass

from protocols.imap import appending, limiting
from protocols.imap.command import LOGGED_IN, Trait, command
from protocols.imap.reply import Reply, no, ok
from protocols.imap.session import Session
from protocols.imap.urls import BadUrl
from protocols.imap.wire.append import AppendMessage, append_messages
from protocols.imap.wire.framer import LiteralAnnounced
from protocols.imap.wire.parser import Parser
from protocols.imap.wire.response import append_uid


@dataclass(frozen=True, slots=True)
class _Arguments:
    path: str
    messages: tuple[AppendMessage, ...]


def _parse(parser: Parser) -> _Arguments:
    """append = "APPEND" SP mailbox 1*append-message (RFC 3502 §6.3.11)."""
    parser.sp()
    return _Arguments(parser.mailbox(), append_messages(parser))


async def _announced(session: Session, event: LiteralAnnounced) -> bool:
    """Raises: as `appending.announced`; ParseError: what precedes the message is wrong."""
    if event.parts == (b" ",):
        return False  # "APPEND" SP literal: the mailbox's name
    parser = Parser(event.parts, utf8=session.utf8)
    parser.sp()
    return await appending.announced(session, event, parser.mailbox())


async def _run(session: Session, arguments: _Arguments) -> Reply:
    if refused := limiting.too_many_appended(session, len(arguments.messages)):
        return refused
    try:
        messages = [await appending.collect(session, message) for message in arguments.messages]
    except BadUrl as error:
        return no(error.text, error.code)
    appended = await session.mail.append(arguments.path, messages)
    code = append_uid(appended[0].uidvalidity, [message.uid for message in appended]).decode("ascii")
    return ok("APPEND completed", code)


APPEND = command("APPEND", LOGGED_IN, _parse, _run, Trait.TRY_CREATE, announced=_announced)
