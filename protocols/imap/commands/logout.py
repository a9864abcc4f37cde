"""LOGOUT (RFC 3501 §6.1.3): BYE, then the tagged OK, then the server closes."""

from protocols.imap.command import ANY, command, nothing
from protocols.imap.reply import Reply, ok
from protocols.imap.session import Session


async def _run(session: Session, _: None) -> Reply:
    await session.deselect()
    session.bye("Logging out")
    return ok("LOGOUT completed")


LOGOUT = command("LOGOUT", ANY, nothing, _run)
