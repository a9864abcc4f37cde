"""GENURLAUTH and RESETKEY (RFC 4467): URLs by which others read a message or a part of it."""

import re
from dataclasses import dataclass

from protocols.imap.command import LOGGED_IN, command
from protocols.imap.reply import Reply, bad, no, ok
from protocols.imap.session import Session
from protocols.imap.wire.parser import ParseError, Parser
from protocols.imap.wire.url import MAX_URLS, InvalidUrl, MessageUrl, parse, url_text

INTERNAL = "INTERNAL"

_ACCESS = re.compile(r"(?:submit\+|user\+).+|authuser|anonymous", re.IGNORECASE)


def _parse_generate(parser: Parser) -> list[tuple[str, str]]:
    """genurlauth = "GENURLAUTH" 1*(SP url-rump SP mechanism)."""
    found: list[tuple[str, str]] = []
    while not found or not parser.at_end():
        parser.sp()
        url = url_text(parser)
        parser.sp()
        found.append((url, parser.keyword()))
        if len(found) > MAX_URLS:
            raise ParseError("Too many URLs")
    return found


async def _generate(session: Session, wanted: list[tuple[str, str]]) -> Reply:
    """RFC 4467 §7: BAD for what is no rump of a URL of this account, NO for another mechanism or no such mailbox."""
    made: list[bytes] = []
    for text, mechanism in wanted:
        if mechanism != INTERNAL:
            return no("Only the mechanism INTERNAL is known")
        url = _rump(session, text)
        if url is None or url.mailbox is None:
            return bad("Not a URL of this account that can be authorised")
        token = await session.services.urls.token(session.actor, url.mailbox, url.rump)
        made.append(b'"%b:internal:%b"' % (url.rump.encode("ascii"), token.encode("ascii")))
    session.writer.untagged(b"GENURLAUTH " + b" ".join(made))
    return ok("GENURLAUTH completed")


def _rump(session: Session, text: str) -> MessageUrl | None:
    try:
        url = parse(text)
    except InvalidUrl:
        return None
    own = url.user is not None and url.user.lower() == session.actor.username.lower()
    fits = url.host is not None and url.access is not None and _ACCESS.fullmatch(url.access) is not None
    return url if own and fits and not url.token and '"' not in text and "\\" not in text else None


@dataclass(frozen=True, slots=True)
class _Reset:
    path: str | None
    mechanisms: tuple[str, ...]


def _parse_reset(parser: Parser) -> _Reset:
    """resetkey = "RESETKEY" [SP mailbox *(SP mechanism)]."""
    if parser.at_end():
        return _Reset(None, ())
    parser.sp()
    path = parser.mailbox()
    mechanisms: list[str] = []
    while parser.try_byte(b" "):
        mechanisms.append(parser.keyword())
    return _Reset(path, tuple(mechanisms))


async def _reset(session: Session, wanted: _Reset) -> Reply:
    if any(mechanism != INTERNAL for mechanism in wanted.mechanisms):
        return no("Only the mechanism INTERNAL is known")
    await session.services.urls.reset(session.actor, wanted.path)
    return ok("RESETKEY completed", "URLMECH INTERNAL")


GENURLAUTH = command("GENURLAUTH", LOGGED_IN, _parse_generate, _generate)
RESETKEY = command("RESETKEY", LOGGED_IN, _parse_reset, _reset)
