"""CAPABILITY (RFC 3501 §6.1.1)."""

from protocols.imap import capabilities
from protocols.imap.command import ANY, command, nothing
from protocols.imap.reply import Reply, ok
from protocols.imap.session import Session


async def _run(session: Session, _: None) -> Reply:
    session.writer.untagged(capabilities.announced(session))
    return ok("CAPABILITY completed")


CAPABILITY = command("CAPABILITY", ANY, nothing, _run)
