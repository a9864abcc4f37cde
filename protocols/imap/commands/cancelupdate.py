"""CANCELUPDATE (RFC 5267 §4.3.5)."""

from protocols.imap import contexts
from protocols.imap.command import SELECTED, command
from protocols.imap.reply import Reply, ok
from protocols.imap.session import Session
from protocols.imap.wire.parser import Parser


def _parse(parser: Parser) -> list[str]:
    """ "CANCELUPDATE" 1*(SP quoted)."""
    tags: list[str] = []
    while not tags or not parser.at_end():
        parser.sp()
        tags.append(parser.string().decode("latin-1"))
    return tags


async def _run(session: Session, tags: list[str]) -> Reply:
    known = [contexts.cancel(session, tag) for tag in tags]
    # Nothing will be told in either case; who asks in vain has lost count (RFC 5530 §3).
    return ok("No further updates", "" if all(known) else "CLIENTBUG")


CANCELUPDATE = command("CANCELUPDATE", SELECTED, _parse, _run)
