"""EXPUNGE (RFC 3501 §6.4.3) and UID EXPUNGE (UIDPLUS, RFC 4315 §2.1)."""

from duckmail.model.flags import DELETED
from duckmail.model.ranges import Ranges
from protocols.imap import limiting
from protocols.imap.command import SELECTED, command, nothing
from protocols.imap.reply import Reply, ok
from protocols.imap.session import Session
from protocols.imap.wire.parser import Parser
from protocols.imap.wire.sequence import SequenceSet


def _parse_uid(parser: Parser) -> SequenceSet:
    parser.sp()
    return parser.sequence_set()


async def _run(session: Session, _: None) -> Reply:
    """The EXPUNGE responses are among the updates that precede the tagged answer. RFC 9738 §3.1: without a limit."""
    await session.mail.expunge(session.writable().view)
    return _completed(session)


async def _run_uid(session: Session, sequence: SequenceSet) -> Reply:
    selected = session.writable()
    uids = selected.resolve(sequence, uid=True)
    deleted = [uid for uid, mask in selected.masks(uids).items() if mask & DELETED]
    kept, limit = limiting.highest(session, deleted)
    await session.mail.expunge(selected.view, Ranges.from_sorted(kept) if limit else uids)
    return limiting.told(session, _completed(session), limit)


def _completed(session: Session) -> Reply:
    if not session.condstore:
        return ok("EXPUNGE completed")
    # RFC 7162 §3.2.7: lets the client move its HIGHESTMODSEQ on.
    return ok("EXPUNGE completed", f"HIGHESTMODSEQ {session.mailbox.view.mailbox.modseq}")


EXPUNGE = command("EXPUNGE", SELECTED, nothing, _run)
UID_EXPUNGE = command("UID EXPUNGE", SELECTED, _parse_uid, _run_uid)
