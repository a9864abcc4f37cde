"""GETQUOTA and GETQUOTAROOT (RFC 9208): an account has one root, named "", with the limits of its storage and of its
messages, where it has such limits, and of its mailboxes, which are limited always.

What is put into a mailbox of another account counts for its owner, whose root is named by where its mailboxes stand.

There is no SETQUOTA: limits are an administrator's, who has the API; QUOTASET is not announced.
"""

from duckmail.errors import NoSuchMailbox, NotFound
from duckmail.model.mailbox import SEPARATOR, Mailbox, Usage, normalise_path
from duckmail.model.sharing import in_shared
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
    _write(session, root, await session.mail.usage(await _owner(session, root)))
    return ok("GETQUOTA completed")


async def _get_root(session: Session, path: str) -> Reply:
    """RFC 9208 §4.1.2: the roots of the mailbox, and the usage and limits of each."""
    try:
        mailbox = await session.mail.mailbox(path)  # RFC 9208 §6: the r right, which the figures are of
        path, owner, root = mailbox.path, mailbox.user, _root(session, mailbox)
    except NoSuchMailbox:
        # §4.1.2: it need not exist: then it is the root that it would have.
        root = _root_of(path) if in_shared(path) else ROOT
        path, owner = normalise_path(path), await _owner(session, root)
    session.writer.untagged(quota_root(path, [root], session.utf8))
    _write(session, root, await session.mail.usage(owner))
    return ok("GETQUOTAROOT completed")


def _root(session: Session, mailbox: Mailbox) -> bytes:
    return ROOT if mailbox.user == session.actor.user else _root_of(mailbox.path)


def _root_of(shared: str) -> bytes:
    """Of a mailbox of another account, by where its mailboxes stand."""
    return SEPARATOR.join(shared.split(SEPARATOR)[:2]).encode("utf-8")


async def _owner(session: Session, root: bytes) -> str:
    """The account whose root it is, if a mailbox of it may be read. Raises: NotFound."""
    if root == ROOT:
        return session.actor.user
    for mailbox in await session.mail.mailboxes():
        if session.mail.places.may(mailbox, "r") and _root(session, mailbox) == root:
            return mailbox.user
    raise NotFound("No such quota root")


def _write(session: Session, root: bytes, usage: Usage) -> None:
    # RFC 9208 §4.2.1: what is not named has no limit. §5.1: STORAGE is in units of 1024 octets.
    resources = [("STORAGE", _units(usage.octets), usage.quota.octets // 1024)] if usage.quota.octets else []
    if usage.quota.messages:
        resources.append(("MESSAGE", usage.messages, usage.quota.messages))
    session.writer.untagged(quota(root, [*resources, ("MAILBOX", usage.mailboxes, usage.most)]))


def _units(octets: int) -> int:
    return -(-octets // 1024)


GETQUOTA = command("GETQUOTA", LOGGED_IN, _parse_root, _get)
GETQUOTAROOT = command("GETQUOTAROOT", LOGGED_IN, _parse_mailbox, _get_root)
