"""SELECT and EXAMINE (RFC 3501 §6.3.1, §6.3.2; the CONDSTORE parameter: RFC 7162 §3.1.8)."""

from dataclasses import dataclass

from protocols.imap.command import LOGGED_IN, command
from protocols.imap.reply import Reply, ok
from protocols.imap.session import CONDSTORE, Session
from protocols.imap.wire.parser import ParseError, Parser


@dataclass(frozen=True, slots=True)
class _Arguments:
    path: str
    condstore: bool


def _parse(parser: Parser) -> _Arguments:
    parser.sp()
    path = parser.mailbox()
    parameters = parser.list_of(parser.keyword) if parser.try_byte(b" ") else []
    if any(parameter != CONDSTORE for parameter in parameters):
        raise ParseError("Unknown parameter")
    return _Arguments(path, bool(parameters))


async def _select(session: Session, arguments: _Arguments, *, read_only: bool) -> Reply:
    if session.selected is not None:
        # RFC 7162 §3.2.11, RFC 9051 §7.1: from here on responses are about the new mailbox. The old one is left even
        # when the new one cannot be opened (RFC 3501 §6.3.1).
        await session.deselect()
        session.writer.status("OK", "Previous mailbox is closed", "CLOSED")
    if arguments.condstore:
        session.enable_condstore()
    selected = await session.select(arguments.path, read_only=read_only)
    writer, mailbox = session.writer, selected.view.mailbox
    writer.keywords(selected)
    writer.untagged(b"%d EXISTS" % selected.exists)
    writer.untagged(b"%d RECENT" % selected.recent)
    if unseen := selected.first_unseen():
        writer.status("OK", "First unseen", f"UNSEEN {unseen}")
    writer.status("OK", "UIDs are valid", f"UIDVALIDITY {mailbox.uidvalidity}")
    writer.status("OK", "Predicted next UID", f"UIDNEXT {mailbox.uidnext}")
    # RFC 7162 §3.1.2.1: always; no mailbox is without mod-sequences, so there is no NOMODSEQ.
    writer.status("OK", "Highest mod-sequence", f"HIGHESTMODSEQ {mailbox.modseq}")
    return ok("EXAMINE completed" if read_only else "SELECT completed", "READ-ONLY" if read_only else "READ-WRITE")


async def _run_select(session: Session, arguments: _Arguments) -> Reply:
    return await _select(session, arguments, read_only=False)


async def _run_examine(session: Session, arguments: _Arguments) -> Reply:
    return await _select(session, arguments, read_only=True)


SELECT = command("SELECT", LOGGED_IN, _parse, _run_select)
EXAMINE = command("EXAMINE", LOGGED_IN, _parse, _run_examine)
