"""GETQUOTA and GETQUOTAROOT (RFC 9208): an account has one root, named "", with the limit of its storage.

There is no SETQUOTA: limits are an administrator's, who has the API; QUOTASET is not announced.
"""

from duckmail.errors import NotFound
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
    if root != ROOT:
        raise NotFound("No such quota root")
    await _write(session)
    return ok("GETQUOTA completed")


async def _get_root(session: Session, path: str) -> Reply:
    """RFC 9208 §4.1.2: the roots of the mailbox, and the usage and limits of each."""
    mailbox = await session.mail.mailbox(path)
    session.writer.untagged(quota_root(mailbox.path, [ROOT], session.utf8))
    await _write(session)
    return ok("GETQUOTAROOT completed")


async def _write(session: Session) -> None:
    usage = await session.mail.usage()
    # RFC 9208 §5.1: STORAGE is in units of 1024 octets. What has no limit is left out of the list (§4.2.1).
    limited = [("STORAGE", _units(usage.used), usage.limit // 1024)] if usage.limit else []
    session.writer.untagged(quota(ROOT, limited))


def _units(octets: int) -> int:
    return -(-octets // 1024)


GETQUOTA = command("GETQUOTA", LOGGED_IN, _parse_root, _get)
GETQUOTAROOT = command("GETQUOTAROOT", LOGGED_IN, _parse_mailbox, _get_root)
