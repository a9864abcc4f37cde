"""CREATE (RFC 3501 §6.3.3; MAILBOXID: RFC 8474 §4.1)."""

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
    mailbox = await session.mail.create(path)
    return ok("CREATE completed", f"MAILBOXID ({mailbox.id})")


CREATE = command("CREATE", LOGGED_IN, _parse, _run)
