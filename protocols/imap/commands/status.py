"""STATUS (RFC 3501 §6.3.10; HIGHESTMODSEQ: RFC 7162 §3.1.7; APPENDLIMIT: RFC 7889 §4; SIZE: RFC 8438 §3;
DELETED: RFC 9051 §6.3.11; MAILBOXID: RFC 8474 §4.3;
DELETED-STORAGE: RFC 9208 §4.1.4).
"""

from bisect import bisect_left
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from duckmail.model.mailbox import Mailbox
from protocols.imap.command import LOGGED_IN, command
from protocols.imap.reply import Reply, ok
from protocols.imap.session import Session
from protocols.imap.wire.parser import ParseError, Parser
from protocols.imap.wire.response import status_response

RECENT = "RECENT"
DELETED_STORAGE = "DELETED-STORAGE"
HIGHESTMODSEQ = "HIGHESTMODSEQ"

ITEMS: Mapping[str, Callable[[Mailbox, Session], int | bytes]] = {
    "MESSAGES": lambda mailbox, _: mailbox.messages,
    "UIDNEXT": lambda mailbox, _: mailbox.uidnext,
    "UIDVALIDITY": lambda mailbox, _: mailbox.uidvalidity,
    "UNSEEN": lambda mailbox, _: mailbox.unseen,
    "SIZE": lambda mailbox, _: mailbox.size,
    "DELETED": lambda mailbox, _: mailbox.deleted,
    "MAILBOXID": lambda mailbox, _: b"(%b)" % mailbox.id.encode("ascii"),
    HIGHESTMODSEQ: lambda mailbox, _: mailbox.modseq,
    "APPENDLIMIT": lambda _, session: session.settings.message_size,
}


@dataclass(frozen=True, slots=True)
class _Arguments:
    path: str
    items: list[str]


def _parse(parser: Parser) -> _Arguments:
    parser.sp()
    path = parser.mailbox()
    parser.sp()
    return _Arguments(path, status_items(parser))


def status_items(parser: Parser) -> list[str]:
    """ "(" status-att *(SP status-att) ")", each once."""
    items = parser.list_of(parser.keyword)
    if any(item not in COUNTED and item not in ITEMS for item in items):
        raise ParseError("Unknown STATUS item")
    return list(dict.fromkeys(items))


async def _run(session: Session, arguments: _Arguments) -> Reply:
    if HIGHESTMODSEQ in arguments.items:
        session.enable_condstore()  # RFC 7162 §3.1: a CONDSTORE enabling command
    mailbox = await session.mail.mailbox(arguments.path)
    session.writer.untagged(await status(session, mailbox, arguments.items))
    return ok("STATUS completed")


async def status(session: Session, mailbox: Mailbox, items: Sequence[str]) -> bytes:
    """The STATUS response for `items`, as `status_items` read them."""
    values: list[tuple[str, int | bytes]] = []
    for item in items:
        value = await COUNTED[item](session, mailbox) if item in COUNTED else ITEMS[item](mailbox, session)
        values.append((item, value))
    return status_response(mailbox.path, values, session.utf8)


async def _recent(session: Session, mailbox: Mailbox) -> int:
    """Messages that no session was told of. Only when some may be are they counted, which takes a view."""
    if mailbox.recentuid >= mailbox.uidnext or not mailbox.messages:
        return 0
    listener = _Nobody()
    view = await session.mail.open(mailbox.path, listener)
    try:
        return len(view.uids) - bisect_left(view.uids, mailbox.recentuid)
    finally:
        session.mail.close_view(view, listener)


async def _deleted_storage(session: Session, mailbox: Mailbox) -> int:
    """RFC 9208 §4.1.4: octets that an EXPUNGE would free."""
    return await session.mail.deleted_size(mailbox) if mailbox.deleted else 0


# What the mailbox itself does not know.
COUNTED: Mapping[str, Callable[[Session, Mailbox], Awaitable[int]]] = {
    RECENT: _recent,
    DELETED_STORAGE: _deleted_storage,
}


class _Nobody:
    """Holds a view for a moment without following its changes."""

    def view_changed(self, expunged: Sequence[int]) -> None:
        """Nothing is announced from it."""


STATUS = command("STATUS", LOGGED_IN, _parse, _run)
