"""NAMESPACE (RFC 2342): one personal namespace, and one of what other users share."""

from duckmail.model.mailbox import SEPARATOR
from duckmail.model.sharing import SHARED
from protocols.imap.command import LOGGED_IN, command, nothing
from protocols.imap.reply import Reply, ok
from protocols.imap.session import Session
from protocols.imap.wire.response import namespace


async def _run(session: Session, _: None) -> Reply:
    session.writer.untagged(namespace(others=SHARED + SEPARATOR))
    return ok("NAMESPACE completed")


NAMESPACE = command("NAMESPACE", LOGGED_IN, nothing, _run)
