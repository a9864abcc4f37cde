"""SETACL, DELETEACL, GETACL, LISTRIGHTS and MYRIGHTS (RFC 4314 §3).

Identifiers are user names, `anyone`, and either with `-` in front, whose rights are taken away. The owner of a mailbox
has all rights, which nobody can change.
"""

from dataclasses import dataclass

from duckmail.errors import InvalidInput, NoSuchMailbox
from duckmail.model.sharing import ALL_RIGHTS, KNOWN_BY, OBSOLETE, parse_rights, with_obsolete
from protocols.imap.command import LOGGED_IN, command
from protocols.imap.reply import Reply, ok
from protocols.imap.session import Session
from protocols.imap.wire.parser import ParseError, Parser
from protocols.imap.wire.response import acl, list_rights, my_rights

MAX_IDENTIFIER = 256  # characters


@dataclass(frozen=True, slots=True)
class _Named:
    path: str
    identifier: str


@dataclass(frozen=True, slots=True)
class _Set:
    """`how`: `+` adds the rights to those that there are, `-` takes them away, "" replaces those."""

    path: str
    identifier: str
    how: str
    rights: str


def _parse_path(parser: Parser) -> str:
    parser.sp()
    return parser.mailbox()


def _parse_named(parser: Parser) -> _Named:
    path = _parse_path(parser)
    parser.sp()
    return _Named(path, _identifier(parser))


def _identifier(parser: Parser) -> str:
    """identifier = astring. RFC 4314 §3: BAD for one that cannot be prepared, or is empty then."""
    try:
        text = parser.astring().decode("utf-8")
    except UnicodeDecodeError:
        raise ParseError("The identifier is not UTF-8") from None
    if not text.removeprefix("-") or len(text) > MAX_IDENTIFIER or not text.isprintable():
        raise ParseError("Invalid identifier")
    return text


def _parse_set(parser: Parser) -> _Set:
    """mod-rights = astring: rights, with `+` or `-` in front or neither."""
    named = _parse_named(parser)
    parser.sp()
    text = parser.astring().decode("ascii", "replace")
    how = text[:1] if text[:1] in ("+", "-") else ""
    try:
        # RFC 4314 §3.1: an unknown right is BAD; so are those in upper case.
        return _Set(named.path, named.identifier, how, parse_rights(text.removeprefix(how)))
    except InvalidInput as error:
        raise ParseError(error.text) from None


async def _set(session: Session, arguments: _Set) -> Reply:
    mailbox = await session.mail.mailbox(arguments.path, "a")
    await session.mail.sharing.grant(mailbox, arguments.identifier, arguments.rights, arguments.how)
    return ok("SETACL completed")


async def _delete(session: Session, arguments: _Named) -> Reply:
    mailbox = await session.mail.mailbox(arguments.path, "a")
    await session.mail.sharing.revoke(mailbox, arguments.identifier)
    return ok("DELETEACL completed")


async def _get(session: Session, path: str) -> Reply:
    mailbox = await session.mail.mailbox(path, "a")
    grants = [(each.identifier, with_obsolete(each.rights)) for each in await session.mail.sharing.grants(mailbox)]
    session.writer.untagged(acl(mailbox.path, grants, session.utf8))
    return ok("GETACL completed")


async def _list(session: Session, arguments: _Named) -> Reply:
    """No rights are tied together; RFC 4314 §2.1.1: so `c` and `d` stand alone."""
    mailbox = await session.mail.mailbox(arguments.path, "a")
    if await session.mail.sharing.is_owner(mailbox, arguments.identifier):
        rights = [with_obsolete(ALL_RIGHTS)]
    else:
        rights = ["", *ALL_RIGHTS, *OBSOLETE]
    session.writer.untagged(list_rights(mailbox.path, arguments.identifier, rights, session.utf8))
    return ok("LISTRIGHTS completed")


async def _mine(session: Session, path: str) -> Reply:
    mailbox = await session.mail.mailbox(path, "")
    rights = session.mail.places.rights(mailbox)
    if not any(right in rights for right in KNOWN_BY):
        raise NoSuchMailbox
    session.writer.untagged(my_rights(mailbox.path, with_obsolete(rights), session.utf8))
    return ok("MYRIGHTS completed")


SETACL = command("SETACL", LOGGED_IN, _parse_set, _set)
DELETEACL = command("DELETEACL", LOGGED_IN, _parse_named, _delete)
GETACL = command("GETACL", LOGGED_IN, _parse_path, _get)
LISTRIGHTS = command("LISTRIGHTS", LOGGED_IN, _parse_named, _list)
MYRIGHTS = command("MYRIGHTS", LOGGED_IN, _parse_path, _mine)
