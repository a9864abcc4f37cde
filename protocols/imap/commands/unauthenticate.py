"""UNAUTHENTICATE (RFC 8437): the connection stays, and is as if nobody had logged in on it."""

from protocols.imap import capabilities
from protocols.imap.command import LOGGED_IN, command, nothing
from protocols.imap.reply import Reply, ok
from protocols.imap.session import Session


async def _run(session: Session, _: None) -> Reply:
    """TLS and compression belong to the connection, and go on. No message is expunged (RFC 8437 §3)."""
    await session.log_out()
    return ok("Logged out, the connection stays", capabilities.announced(session).decode("ascii"))


UNAUTHENTICATE = command("UNAUTHENTICATE", LOGGED_IN, nothing, _run)
