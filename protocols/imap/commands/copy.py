"""COPY and UID COPY (RFC 3501 §6.4.7) with COPYUID (RFC 4315 §3)."""

from dataclasses import dataclass

from duckmail.model.message import CopyResult
from protocols.imap import limiting
from protocols.imap.command import SELECTED, Trait, command
from protocols.imap.reply import EXPUNGE_ISSUED, Reply, ok
from protocols.imap.session import Session
from protocols.imap.wire.parser import Parser
from protocols.imap.wire.response import copy_uid
from protocols.imap.wire.sequence import SequenceSet


@dataclass(frozen=True, slots=True)
class Arguments:
    """Of COPY and of MOVE."""

    sequence: SequenceSet
    path: str
    uid: bool


def parse(parser: Parser) -> Arguments:
    return _parse(parser, uid=False)


def parse_uid(parser: Parser) -> Arguments:
    return _parse(parser, uid=True)


def _parse(parser: Parser, *, uid: bool) -> Arguments:
    parser.sp()
    sequence = parser.sequence_set()
    parser.sp()
    return Arguments(sequence, parser.mailbox(), uid)


def copied(result: CopyResult) -> str:
    """The response code; "" when nothing was copied: COPYUID cannot say so (RFC 4315 §3)."""
    if not result.source:
        return ""
    return copy_uid(result.uidvalidity, result.source, result.target).decode("ascii")


async def _run(session: Session, arguments: Arguments) -> Reply:
    selected = session.mailbox
    uids = selected.resolve(arguments.sequence, uid=arguments.uid)
    if not arguments.uid and selected.gone(uids):
        # RFC 3501 §6.4.7: all or nothing; RFC 2180 §4.4.2 for messages that are gone.
        return EXPUNGE_ISSUED
    if refused := limiting.too_many_saved(session, selected.live(uids)):
        return refused
    result = await session.mail.copy(selected.view, uids, arguments.path)
    return ok("COPY completed", copied(result))


COPY = command("COPY", SELECTED, parse, _run, Trait.TRY_CREATE | Trait.NUMBERED)
UID_COPY = command("UID COPY", SELECTED, parse_uid, _run, Trait.TRY_CREATE)
