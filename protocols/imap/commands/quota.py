"""GETQUOTA and GETQUOTAROOT (RFC 9208): an account has one root, named "", with the limit of its storage; one
that has no limit has no root, since a root without a resource cannot be written (§7: quota-list).

There is no SETQUOTA: limits are an administrator's, who has the API; QUOTASET is not announced.
"""

from duckmail.errors import NotFound
from duckmail.model.mailbox import Usage
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
    usage = await session.mail.usage()
    if root != ROOT or not usage.limit:
        raise NotFound("No such quota root")
    _write(session, usage)
    return ok("GETQUOTA completed")


async def _get_root(session: Session, path: str) -> Reply:
    """RFC 9208 §4.1.2: the roots of the mailbox, and the usage and limits of each."""
    mailbox = await session.mail.mailbox(path)
    usage = await session.mail.usage()
    session.writer.untagged(quota_root(mailbox.path, [ROOT] if usage.limit else [], session.utf8))
    if usage.limit:
        _write(session, usage)
    return ok("GETQUOTAROOT completed")


def _write(session: Session, usage: Usage) -> None:
    # RFC 9208 §5.1: STORAGE is in units of 1024 octets.
    session.writer.untagged(quota(ROOT, [("STORAGE", _units(usage.used), usage.limit // 1024)]))


def _units(octets: int) -> int:
    return -(-octets // 1024)


GETQUOTA = command("GETQUOTA", LOGGED_IN, _parse_root, _get)
GETQUOTAROOT = command("GETQUOTAROOT", LOGGED_IN, _parse_mailbox, _get_root)
