"""IMAP URLs of a message or a part of one (RFC 5092, RFC 4467 §3)."""

import re
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote_to_bytes

from duckmail.model.mailbox import INBOX, SEPARATOR
from protocols.imap.wire.fetch import BodySection, fetch_items
from protocols.imap.wire.parser import ParseError, Parser

MAX_URL = 8192  # octets
MAX_URLS = 100  # of one command

# imapurl = "imap://" iserver ipath-query; iserver = [iuserinfo "@"] host [":" port]
# imessagepart = enc-mailbox [uidvalidity] iuid [isection] [ipartial]; relative ones begin with "/" or with ";UID="
_URL = re.compile(
    r"(?:imap://(?:(?P<user>[^@/;:]++)(?:;AUTH=[^@/;:]++)?@)?(?P<host>[^@/;]++))?"
    r"(?:/(?P<mailbox>[^;]+?)(?:;UIDVALIDITY=(?P<validity>[1-9][0-9]{0,9}))?/)?"
    r";UID=(?P<uid>[1-9][0-9]{0,9})"
    r"(?:/;SECTION=(?P<section>[^;/]++))?"
    r"(?:/;PARTIAL=(?P<first>[0-9]{1,18})(?:\.(?P<count>[1-9][0-9]{0,17}))?)?"
    r"(?P<auth>(?:;EXPIRE=(?P<expire>[0-9A-Za-z:.+-]{1,40}))?;URLAUTH=(?P<access>[^;:]++))?"
    r"(?::(?P<mechanism>[A-Za-z0-9.-]{1,20}):(?P<token>[0-9A-Fa-f]{32,256}))?",
    re.IGNORECASE,
)
_WHOLE = "BODY.PEEK[]"
ENDLESS = (1 << 63) - 1


class InvalidUrl(ValueError):
    """Not a URL of a message on an IMAP server."""


@dataclass(frozen=True, slots=True)
class MessageUrl:
    """`mailbox`: its path, None for a URL relative to the selected mailbox. `host`: None for a relative URL.
    `section`: with the partial in it. `access`: who may use it, as written, None when it is not authorised. `rump`: the
    URL up to and with the access. `mechanism`, `token`: of the authorisation; "" for a rump that has none yet."""

    text: str
    user: str | None
    host: str | None
    mailbox: str | None
    uidvalidity: int | None
    uid: int
    section: BodySection
    expire: datetime | None
    access: str | None
    rump: str
    mechanism: str
    token: str


def url_text(parser: Parser) -> str:
    """The URL that comes next in a command, as it is written. Raises: ParseError."""
    try:
        return parser.astring().decode("ascii")
    except UnicodeDecodeError:
        raise ParseError("A URL is ASCII") from None


def parse(text: str) -> MessageUrl:
    """Raises: InvalidUrl."""
    found = _URL.fullmatch(text) if len(text) <= MAX_URL else None
    if found is None or (found["host"] and not found["mailbox"]) or (found["token"] and not found["access"]):
        raise InvalidUrl
    first, count = found["first"], found["count"]
    suffix = f"<{first}.{count or ENDLESS}>" if first else ""
    return MessageUrl(
        text=text,
        user=_decoded(found["user"]),
        host=found["host"],
        mailbox=_mailbox(found["mailbox"]),
        uidvalidity=int(found["validity"]) if found["validity"] else None,
        uid=int(found["uid"]),
        section=_section(_decoded(found["section"]) or "", suffix),
        expire=_moment(found["expire"]),
        access=found["access"],
        rump=text[: found.end("access")] if found["access"] else text,
        mechanism=(found["mechanism"] or "").upper(),
        token=(found["token"] or "").lower(),
    )


def _decoded(text: str | None) -> str | None:
    """Percent-encoding undone; what comes out is UTF-8 (RFC 5092 §8)."""
    if text is None:
        return None
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidUrl from None


def _mailbox(text: str | None) -> str | None:
    name = _decoded(text)
    if name is None:
        return None
    first, separator, rest = name.partition(SEPARATOR)
    return INBOX + separator + rest if first.upper() == INBOX else name


def _section(spec: str, suffix: str) -> BodySection:
    if not spec.isascii():
        raise InvalidUrl
    parser = Parser((f"BODY.PEEK[{spec}]{suffix}".encode("ascii"),))
    try:
        (item,) = fetch_items(parser)
        parser.end()
    except (ParseError, ValueError):
        raise InvalidUrl from None
    if not isinstance(item, BodySection):
        raise InvalidUrl
    return item


def _moment(text: str | None) -> datetime | None:
    """date-time of RFC 3339, with its zone."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidUrl from None
    if moment.tzinfo is None:
        raise InvalidUrl
    return moment
