"""NOOP and CHECK (RFC 3501 §6.1.2, §6.4.1): both look at the database, so that a lost notification never hides mail."""

from protocols.imap.command import ANY, SELECTED, command, nothing
from protocols.imap.reply import Reply, ok
from protocols.imap.session import Session


async def _run(session: Session, _: None) -> Reply:
    if session.selected is not None and not session.selected.view.gone:
        await session.mail.sync(session.selected.view)
    return ok("Done")


NOOP = command("NOOP", ANY, nothing, _run)
CHECK = command("CHECK", SELECTED, nothing, _run)
