"""CLOSE (RFC 3501 §6.4.2) and UNSELECT (RFC 3691): the mailbox is left, with or without expunging, in silence."""

from protocols.imap.command import SELECTED, command, nothing
from protocols.imap.reply import Reply, ok
from protocols.imap.session import Session


async def _run_close(session: Session, _: None) -> Reply:
    # RFC 3501 §6.4.2: after EXAMINE nothing is removed, and no error is given; RFC 4314 §4: nor without the e right.
    selected = session.mailbox
    expunges = not selected.read_only and "e" in selected.rights
    if expunges:
        await session.mail.expunge(selected.view)
    await session.deselect()
    return ok("CLOSE completed")  # RFC 7162 §3.2.8: the new mod-sequence MUST NOT be told


async def _run_unselect(session: Session, _: None) -> Reply:
    await session.deselect()
    return ok("UNSELECT completed")


CLOSE = command("CLOSE", SELECTED, nothing, _run_close)
UNSELECT = command("UNSELECT", SELECTED, nothing, _run_unselect)
