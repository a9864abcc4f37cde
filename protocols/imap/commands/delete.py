"""DELETE (RFC 3501 §6.3.4)."""

from protocols.imap.command import LOGGED_IN, command
from protocols.imap.reply import Reply, ok
from protocols.imap.session import Session
from protocols.imap.wire.parser import Parser


def _parse(parser: Parser) -> str:
    parser.sp()
    return parser.mailbox()


async def _run(session: Session, path: str) -> Reply:
    selected = session.selected
    mine = selected is not None and session.mail.places.name(selected.view.mailbox) == path
    await session.mail.delete(path)
    if mine:
        await session.deselect()  # or this session would be told BYE for what it did itself
    return ok("DELETE completed")


DELETE = command("DELETE", LOGGED_IN, _parse, _run)
