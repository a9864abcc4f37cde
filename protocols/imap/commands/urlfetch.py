"""URLFETCH (RFC 4467 §7), with what RFC 5524 lets a client ask of each URL: BODY, BINARY, BODYPARTSTRUCTURE."""

from dataclasses import dataclass

from duckmail.errors import InvalidInput, NotFound, NotPermitted
from duckmail.model.message import StoredMessage
from duckmail.services.urlauth import permitted
from protocols.imap import sections, urls
from protocols.imap.command import LOGGED_IN, command
from protocols.imap.commands.urlauth import INTERNAL
from protocols.imap.reply import Reply, ok
from protocols.imap.session import Session
from protocols.imap.urldata import UrlData, url_data
from protocols.imap.urls import BadUrl
from protocols.imap.wire.parser import ParseError, Parser
from protocols.imap.wire.response import astring
from protocols.imap.wire.url import MAX_URLS, InvalidUrl, MessageUrl, parse, url_text

PARAMETERS = ("BODYPARTSTRUCTURE", "BODY", "BINARY")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """`parameters`: in the order of the answer; none of them: the octets alone, as RFC 4467 has it."""

    url: str
    parameters: tuple[str, ...] = ()


def _parse(parser: Parser) -> list[_Wanted]:
    """urlfetch = "URLFETCH" 1*(SP url-fetch-arg); url-fetch-arg = url-fetch-simple / url-fetch-ext."""
    found: list[_Wanted] = []
    while not found or not parser.at_end():
        parser.sp()
        found.append(_extended(parser) if parser.peek() == 0x28 else _Wanted(url_text(parser)))
        if len(found) > MAX_URLS:
            raise ParseError("Too many URLs")
    return found


def _extended(parser: Parser) -> _Wanted:
    """url-fetch-ext = "(" url-full *(SP url-fetch-param) ")"."""
    parser.expect(b"(")
    url = url_text(parser)
    asked: list[str] = []
    while parser.try_byte(b" "):
        name = parser.keyword()
        if name not in PARAMETERS:
            raise ParseError("Unknown URLFETCH parameter")
        # RFC 5524 §3.1: none more than once, and not both BINARY and BODY.
        if name in asked or {name, *asked} >= {"BODY", "BINARY"}:
            raise ParseError("Parameters that do not go together")
        asked.append(name)
    parser.expect(b")")
    return _Wanted(url, tuple(name for name in PARAMETERS if name in asked))


async def _run(session: Session, wanted: list[_Wanted]) -> Reply:
    """RFC 4467 §7, RFC 5524 §3.1: a URL that is not valid, for whatever reason, has NIL."""
    writer, downloads = session.writer, session.mail.downloads
    for each in wanted:
        await downloads.require()
        data = await _data(session, each)
        head = b"URLFETCH " + astring(each.url.encode("ascii"))
        if data is None:
            writer.untagged(head + b" NIL")
            continue
        writer.begin(b"* " + head)
        for name, value in data:
            writer.write(b" (%b " % name.encode("ascii") if name else b" ")
            if isinstance(value, bytes):
                writer.write(value)
            else:
                await value.write(writer)
                downloads.took(value.size)
            writer.write(b")" if name else b"")
        writer.end(b"\r\n")
        await writer.room()
    return ok("URLFETCH completed")


async def _data(session: Session, wanted: _Wanted) -> list[tuple[str, UrlData]] | None:
    """What the URL gives, by parameter; with the name "" what has none. None: it is not valid."""
    try:
        url = parse(wanted.url)
        message = await _message(session, url)
        octets = await sections.octets_of(message, url.section)
    except (InvalidUrl, BadUrl, NotPermitted, NotFound, InvalidInput):
        return None
    if octets is None:
        return None
    if not wanted.parameters:
        return [("", octets)]
    return [(name, await url_data(message, url.section, name, wanted.parameters)) for name in wanted.parameters]


async def _message(session: Session, url: MessageUrl) -> StoredMessage:
    """Raises: BadUrl, NotPermitted, NotFound, InvalidInput, Unavailable."""
    if not (url.token and url.user and url.mailbox and url.access) or url.mechanism != INTERNAL:
        raise NotPermitted
    if not permitted(session.actor, url.access, url.expire):
        raise NotPermitted
    mail = await session.services.urls.owner(url.user, url.mailbox, url.rump, url.token)
    return await urls.message(mail, url)


URLFETCH = command("URLFETCH", LOGGED_IN, _parse, _run)
