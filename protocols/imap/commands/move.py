"""MOVE and UID MOVE (RFC 6851)."""

from duckmail.model.ranges import Ranges
from protocols.imap import limiting
from protocols.imap.command import SELECTED, Trait, command
from protocols.imap.commands.copy import Arguments, copied, parse, parse_uid
from protocols.imap.reply import EXPUNGE_ISSUED, Reply, ok
from protocols.imap.session import Session


async def _run(session: Session, arguments: Arguments) -> Reply:
    """The EXPUNGE responses are among the updates that precede the tagged answer."""
    selected = session.writable()
    uids = selected.resolve(arguments.sequence, uid=arguments.uid)
    gone = bool(selected.gone(uids))
    kept, limit = limiting.highest(session, selected.live(uids))
    if limit:
        uids = Ranges.from_sorted(kept)
    result = await session.mail.move(selected.view, uids, arguments.path)
    if code := copied(result):
        # RFC 6851 §4.3: COPYUID in an untagged OK, before the EXPUNGEs.
        session.writer.status("OK", "Moved", code)
    if gone and not arguments.uid:
        return limiting.told(session, EXPUNGE_ISSUED, limit)
    # RFC 7162 §3.2.10: the VANISHED that follows moves the client's HIGHESTMODSEQ on.
    reply = ok("MOVE completed", f"HIGHESTMODSEQ {selected.view.mailbox.modseq}" if session.qresync else "")
    return limiting.told(session, reply, limit)


MOVE = command("MOVE", SELECTED, parse, _run, Trait.TRY_CREATE | Trait.NUMBERED)
UID_MOVE = command("UID MOVE", SELECTED, parse_uid, _run, Trait.TRY_CREATE)
