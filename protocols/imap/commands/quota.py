"""GETQUOTA and GETQUOTAROOT (RFC 9208): an account has one root, named "", with the limit of its storage; one
that has no limit has no root, since a root without a resource cannot be written (§7: quota-list).

What is put into a mailbox of another account counts for its owner, whose root is named by where its mailboxes stand.

There is no SETQUOTA: limits are an administrator's, who has the API; QUOTASET is not announced.
"""

from duckmail.errors import NotFound
from duckmail.model.mailbox import SEPARATOR, Mailbox, Usage
from protocols.imap.command import LOGGED_IN, command
from protocols.imap.reply import Reply, ok
from protocols.imap.session import Session
from protocols.imap.wire.parser import Parser
from protocols.imap.wire.response import quota, quota_root

ROOT = b""


def _parse_root(parser: Parser) -> bytes:
    parser.sp()
    return parser.astring()


def _parse_mailbox(parser: Parser) -> str:
    parser.sp()
    return parser.mailbox()


async def _get(session: Session, root: bytes) -> Reply:
    usage = await session.mail.usage(await _owner(session, root))
    if not usage.limit:
        raise NotFound("No such quota root")
    _write(session, root, usage)
    return ok("GETQUOTA completed")


async def _get_root(session: Session, path: str) -> Reply:
    """RFC 9208 §4.1.2: the roots of the mailbox, and the usage and limits of each."""
    mailbox = await session.mail.mailbox(path)
    usage = await session.mail.usage(mailbox.user)
    root = _root(session, mailbox)
    session.writer.untagged(quota_root(mailbox.path, [root] if usage.limit else [], session.utf8))
    if usage.limit:
        _write(session, root, usage)
    return ok("GETQUOTAROOT completed")


def _root(session: Session, mailbox: Mailbox) -> bytes:
    if mailbox.user == session.actor.user:
        return ROOT
    return SEPARATOR.join(mailbox.path.split(SEPARATOR)[:2]).encode("utf-8")


async def _owner(session: Session, root: bytes) -> str:
    """The account whose root it is, if a mailbox of it may be read. Raises: NotFound."""
    if root == ROOT:
        return session.actor.user
    for mailbox in await session.mail.mailboxes():
        if session.mail.places.may(mailbox, "r") and _root(session, mailbox) == root:
            return mailbox.user
    raise NotFound("No such quota root")


def _write(session: Session, root: bytes, usage: Usage) -> None:
    # RFC 9208 §5.1: STORAGE is in units of 1024 octets.
    session.writer.untagged(quota(root, [("STORAGE", _units(usage.used), usage.limit // 1024)]))


def _units(octets: int) -> int:
    return -(-octets // 1024)


GETQUOTA = command("GETQUOTA", LOGGED_IN, _parse_root, _get)
GETQUOTAROOT = command("GETQUOTAROOT", LOGGED_IN, _parse_mailbox, _get_root)
