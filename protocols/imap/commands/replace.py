"""REPLACE and UID REPLACE (RFC 8508): a message is appended and another one expunged in the same commit."""

import re
from dataclasses import dataclass

from duckmail.errors import NoSuchMessage
from protocols.imap import appending
from protocols.imap.command import SELECTED, Command, Trait, command
from protocols.imap.reply import EXPUNGE_ISSUED, Reply, no, ok
from protocols.imap.session import Session
from protocols.imap.urls import BadUrl
from protocols.imap.wire.append import AppendMessage, append_message
from protocols.imap.wire.framer import LiteralAnnounced
from protocols.imap.wire.parser import ParseError, Parser
from protocols.imap.wire.response import append_uid
from protocols.imap.wire.sequence import SequenceSet

_ONE = re.compile(rb"[1-9][0-9]*+|\*")
_BEFORE_MAILBOX = re.compile(rb" [^ ]*+ ")


@dataclass(frozen=True, slots=True)
class _Arguments:
    sequence: SequenceSet
    path: str
    message: AppendMessage
    uid: bool


def _parse(parser: Parser, *, uid: bool) -> _Arguments:
    """replace = "REPLACE" SP seq-number SP mailbox append-message (RFC 8508 §7)."""
    sequence, path = _target(parser)
    return _Arguments(sequence, path, append_message(parser), uid)


def _target(parser: Parser) -> tuple[SequenceSet, str]:
    parser.sp()
    found = parser.match(_ONE)
    if found is None:
        raise ParseError("Expected one message")
    try:
        sequence = SequenceSet.parse(found[0])
    except ValueError:
        raise ParseError("Invalid message number") from None
    parser.sp()
    return sequence, parser.mailbox()


async def _announced(session: Session, event: LiteralAnnounced) -> bool:
    if len(event.parts) == 1 and isinstance(event.parts[0], bytes) and _BEFORE_MAILBOX.fullmatch(event.parts[0]):
        return False  # the mailbox's name
    return await appending.announced(session, event, _target(Parser(event.parts, utf8=session.utf8))[1])


async def _run(session: Session, arguments: _Arguments) -> Reply:
    selected = session.writable()
    uids = selected.resolve(arguments.sequence, uid=arguments.uid)
    live = selected.live(uids)
    if not live:
        # RFC 8508 §3.4: nothing is appended when the message to replace is not there.
        return no("No such message") if arguments.uid else EXPUNGE_ISSUED
    try:
        message = await appending.collect(session, arguments.message)
    except BadUrl as error:
        return no(error.text, error.code)
    try:
        appended = await session.mail.replace(selected.view, live[0], arguments.path, message)
    except NoSuchMessage:
        return no("No such message") if arguments.uid else EXPUNGE_ISSUED
    # RFC 8508 §4: APPENDUID goes in an untagged OK, before EXPUNGE.
    code = append_uid(appended.uidvalidity, [appended.uid]).decode("ascii")
    session.writer.status("OK", "Replacement message ready", code)
    return ok("REPLACE completed")


def _command(name: str, *, uid: bool) -> Command:
    return command(name, SELECTED, lambda parser: _parse(parser, uid=uid), _run, Trait.TRY_CREATE, announced=_announced)


REPLACE = _command("REPLACE", uid=False)
UID_REPLACE = _command("UID REPLACE", uid=True)
