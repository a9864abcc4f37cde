"""SELECT and EXAMINE (RFC 3501 §6.3.1, §6.3.2; the parameters CONDSTORE and QRESYNC: RFC 7162 §3.1.8, §3.2.5)."""

from dataclasses import dataclass

from duckmail.model.ranges import Ranges
from protocols.imap.command import LOGGED_IN, command
from protocols.imap.commands.fetch import from_view
from protocols.imap.fetching import Plan
from protocols.imap.reply import Reply, bad, ok
from protocols.imap.resync import matched, vanished_earlier
from protocols.imap.selected import Selected, UidRequired
from protocols.imap.session import CONDSTORE, QRESYNC, Session
from protocols.imap.wire.fetch import Simple
from protocols.imap.wire.parser import ParseError, Parser
from protocols.imap.wire.qresync import Resync, resync
from protocols.imap.wire.response import list_response
from protocols.imap.wire.sequence import MAX_NUMBER

EVERY_UID = Ranges(((1, MAX_NUMBER),))
# RFC 7162 §3.2.5: UID, FLAGS and MODSEQ of what has changed.
_CHANGES = Plan([Simple("FLAGS")], uid=True, modseq=True)


@dataclass(frozen=True, slots=True)
class _Arguments:
    path: str
    condstore: bool
    resync: Resync | None = None


def _parse(parser: Parser) -> _Arguments:
    parser.sp()
    path = parser.mailbox()
    parameters = dict(parser.list_of(lambda: _parameter(parser))) if parser.try_byte(b" ") else {}
    return _Arguments(path, bool(parameters), parameters.get(QRESYNC))


def _parameter(parser: Parser) -> tuple[str, Resync | None]:
    name = parser.keyword()
    if name == CONDSTORE:
        return name, None
    if name != QRESYNC:
        raise ParseError("Unknown parameter")
    parser.sp()
    return name, resync(parser)


async def _select(session: Session, arguments: _Arguments, *, read_only: bool) -> Reply:
    if arguments.resync is not None and not session.qresync:
        return bad("QRESYNC is not enabled")  # RFC 7162 §3.2.5
    if arguments.resync is not None and arguments.resync.numbers and session.uid_only:
        raise UidRequired  # RFC 9586 §3.3: no sequence match data
    if session.selected is not None:
        # RFC 7162 §3.2.11, RFC 9051 §7.1: from here on responses are about the new mailbox. The old one is left even
        # when the new one cannot be opened (RFC 3501 §6.3.1).
        await session.deselect()
        session.writer.status("OK", "Previous mailbox is closed", "CLOSED")
    if arguments.condstore:
        session.enable_condstore()
    selected = await session.select(arguments.path, read_only=read_only)
    writer, mailbox = session.writer, selected.view.mailbox
    # What happens while the past is read is told after this answer, which is of the moment that `mailbox` is of.
    news = await _resync(session, selected, arguments.resync)
    writer.keywords(selected)
    writer.untagged(b"%d EXISTS" % selected.exists)
    if session.rev2:  # RFC 9051 §6.3.2: LIST, no RECENT, no UNSEEN
        own = mailbox.user == session.actor.user
        attributes = [mailbox.special_use] if own and mailbox.special_use else []
        writer.untagged(list_response(attributes, session.mail.places.name(mailbox), session.utf8))
    else:
        writer.untagged(b"%d RECENT" % selected.recent)
        if not session.uid_only and (unseen := selected.first_unseen()):
            writer.status("OK", "First unseen", f"UNSEEN {unseen}")
    writer.status("OK", "UIDs are valid", f"UIDVALIDITY {mailbox.uidvalidity}")
    writer.status("OK", "Predicted next UID", f"UIDNEXT {mailbox.uidnext}")
    writer.status("OK", "Mailbox id", f"MAILBOXID ({mailbox.id})")  # RFC 8474 §4.2
    # RFC 7162 §3.1.2.1: always; no mailbox is without mod-sequences, so there is no NOMODSEQ.
    writer.status("OK", "Highest mod-sequence", f"HIGHESTMODSEQ {mailbox.modseq}")
    if news is not None:
        writer.vanished(news.vanished, earlier=True)
        await from_view(session, selected, _CHANGES, news.changed)
    code = "READ-ONLY" if selected.read_only else "READ-WRITE"
    return ok("EXAMINE completed" if read_only else "SELECT completed", code)


@dataclass(frozen=True, slots=True)
class _News:
    """Since the client's modseq: UIDs it must forget, and UIDs whose flags it does not know; ascending."""

    vanished: Ranges
    changed: list[int]


async def _resync(session: Session, selected: Selected, past: Resync | None) -> _News | None:
    """None when the client's copy is of another mailbox (RFC 7162 §3.2.5: UIDVALIDITY) or it has none."""
    if past is None or past.uidvalidity != selected.view.mailbox.uidvalidity:
        return None
    known = EVERY_UID if past.known is None else past.known
    above = matched(selected, past.numbers, past.uids)
    vanished = await vanished_earlier(session, selected, past.modseq, known, above)
    changed = Ranges.from_sorted(selected.view.changed_since(past.modseq)).intersection(known)
    return _News(vanished, selected.live(changed))


async def _run_select(session: Session, arguments: _Arguments) -> Reply:
    return await _select(session, arguments, read_only=False)


async def _run_examine(session: Session, arguments: _Arguments) -> Reply:
    return await _select(session, arguments, read_only=True)


SELECT = command("SELECT", LOGGED_IN, _parse, _run_select)
EXAMINE = command("EXAMINE", LOGGED_IN, _parse, _run_examine)
