"""CLOSE (RFC 3501 §6.4.2) and UNSELECT (RFC 3691): the mailbox is left, with or without expunging, in silence."""

from protocols.imap.command import SELECTED, command, nothing
from protocols.imap.reply import Reply, ok
from protocols.imap.session import Session


async def _run_close(session: Session, _: None) -> Reply:
    # RFC 3501 §6.4.2: after EXAMINE nothing is removed, and no error is given.
    if not session.mailbox.read_only:
        await session.mail.expunge(session.mailbox.view)
    await session.deselect()
    return ok("CLOSE completed")


async def _run_unselect(session: Session, _: None) -> Reply:
    await session.deselect()
    return ok("UNSELECT completed")


CLOSE = command("CLOSE", SELECTED, nothing, _run_close)
UNSELECT = command("UNSELECT", SELECTED, nothing, _run_unselect)
