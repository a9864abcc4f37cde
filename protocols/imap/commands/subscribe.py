"""SUBSCRIBE and UNSUBSCRIBE (RFC 3501 §6.3.6, §6.3.7)."""

from protocols.imap.command import LOGGED_IN, command
from protocols.imap.reply import Reply, ok
from protocols.imap.session import Session
from protocols.imap.wire.parser import Parser


def _parse(parser: Parser) -> str:
    parser.sp()
    return parser.mailbox()


async def _run_subscribe(session: Session, path: str) -> Reply:
    await session.mail.subscribe(path, True)
    return ok("SUBSCRIBE completed")


async def _run_unsubscribe(session: Session, path: str) -> Reply:
    await session.mail.subscribe(path, False)
    return ok("UNSUBSCRIBE completed")


SUBSCRIBE = command("SUBSCRIBE", LOGGED_IN, _parse, _run_subscribe)
UNSUBSCRIBE = command("UNSUBSCRIBE", LOGGED_IN, _parse, _run_unsubscribe)
