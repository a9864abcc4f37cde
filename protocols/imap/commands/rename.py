"""RENAME (RFC 3501 §6.3.5): names below move along; of INBOX the messages move, and it stays."""

from dataclasses import dataclass

from duckmail.model.mailbox import SEPARATOR
from protocols.imap.command import LOGGED_IN, command
from protocols.imap.reply import Reply, ok
from protocols.imap.session import Session
from protocols.imap.wire.parser import Parser


@dataclass(frozen=True, slots=True)
class _Names:
    old: str
    new: str


def _parse(parser: Parser) -> _Names:
    parser.sp()
    old = parser.mailbox()
    parser.sp()
    return _Names(old, parser.mailbox().removesuffix(SEPARATOR))


async def _run(session: Session, names: _Names) -> Reply:
    await session.mail.rename(names.old, names.new)
    return ok("RENAME completed")


RENAME = command("RENAME", LOGGED_IN, _parse, _run)
