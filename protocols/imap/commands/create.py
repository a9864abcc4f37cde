"""CREATE (RFC 3501 §6.3.3)."""

from duckmail.model.mailbox import SEPARATOR
from protocols.imap.command import LOGGED_IN, command
from protocols.imap.reply import Reply, ok
from protocols.imap.session import Session
from protocols.imap.wire.parser import Parser


def _parse(parser: Parser) -> str:
    parser.sp()
    # A trailing separator declares that names below it will be created, which needs no declaration here.
    return parser.mailbox().removesuffix(SEPARATOR)


async def _run(session: Session, path: str) -> Reply:
    await session.mail.create(path)
    return ok("CREATE completed")


CREATE = command("CREATE", LOGGED_IN, _parse, _run)
