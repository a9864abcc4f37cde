"""What listings, sorting and threads need of a message, as decoded text."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_tz
from functools import lru_cache

from duckmail.mime import charsets, parameters
from duckmail.mime.address import addresses
from duckmail.mime.header import Lookup, decode
from duckmail.mime.index import MULTIPART, Index, Node
from duckmail.mime.message import Message, Raw, message_of
from duckmail.mime.parameters import Structured
from duckmail.mime.section import part_numbers
from duckmail.mime.text import own_parts, preview

INTRO = 128
"""Characters of the preview, not counting the "…" of a longer text."""
MAX_ATTACHMENTS = 1000
MAX_REFERENCES = 1000
MAX_NAME = 1000
"""Characters of a file name or content id."""
MAX_TEXT = 65536
"""Octets of a header field that are read as text."""
_MAX_DATE = 200
_KEPT = 128  # address lists that are remembered decoded: the same people write to one another ...
_KEPT_VALUE = 200  # ... those of at most so many octets

# RFC 5322 §3.6.4: msg-id = "<" id-left "@" id-right ">"
_MESSAGE_ID = re.compile(rb"<[^<>\s]++>")
# RFC 5322 §3.3: date-time without obs-forms, blanks as everybody writes them, a comment such as "(UTC)" behind it.
_USUAL_DATE = re.compile(
    rb"(?:[A-Z][a-z]{2}, )?([0-9]{1,2}) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) ([12][0-9]{3}) "
    rb"([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})(?: \([A-Z]{1,5}\))?"
)
_MONTHS = {name: number for number, name in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)}


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part that is not the message's own text.

    `path`: the part number, as `1.2`. `content_type`: lower case. `disposition`: lower case, "" without one.
    `size`: octets as transferred. `cid`: Content-ID without <>. `related`: belongs to a multipart/related, so shown
    inside the text.
    """

    path: str
    filename: str
    content_type: str
    disposition: str
    encoding: str
    size: int
    cid: str
    related: bool


@dataclass(slots=True)
class Summary:
    """Fields that are absent are empty. Addresses are (display name, address), those of groups among the others.

    `message_id`, `in_reply_to`, `references`: with their <>. `date`: the Date field in UTC; `sent_day`: the day written
    in it, time and zone disregarded (RFC 3501 §6.4.4 SENTON). `intro`: the beginning of the text on one line.
    """

    subject: str
    from_: list[tuple[str, str]]
    to: list[tuple[str, str]]
    cc: list[tuple[str, str]]
    bcc: list[tuple[str, str]]
    reply_to: list[tuple[str, str]]
    message_id: str
    in_reply_to: str
    references: list[str]
    sent_day: date | None
    date: datetime | None
    intro: str
    attachments: list[Attachment]


def summary(raw: Raw | Message, index: Index) -> Summary:
    message = message_of(raw)
    lookup = message.header(index.nodes[0])
    moment, day = parse_date(lookup.first(b"date") or b"")
    return Summary(
        subject=decode((lookup.first(b"subject") or b"")[:MAX_TEXT]),
        from_=_addresses(lookup, b"from"),
        to=_addresses(lookup, b"to"),
        cc=_addresses(lookup, b"cc"),
        bcc=_addresses(lookup, b"bcc"),
        reply_to=_addresses(lookup, b"reply-to"),
        message_id=next(iter(_message_ids(lookup, b"message-id", unmarked=True)), ""),
        in_reply_to=next(iter(_message_ids(lookup, b"in-reply-to")), ""),
        references=_message_ids(lookup, b"references"),
        date=moment,
        sent_day=day,
        intro=preview(message, index, INTRO),
        attachments=list(attachments(message, index)),
    )


def parse_date(value: bytes) -> tuple[datetime | None, date | None]:
    """The body of a Date field as a moment in UTC and as the day it names; None for what it does not give."""
    try:
        year, month, number, hour, minute, second, offset = _usual_date(value) or _any_date(value)
        day = date(year, month, number)
    except (ValueError, TypeError, IndexError, OverflowError):  # the general parser is not total on junk
        return None, None
    try:
        moment = datetime(year, month, number, hour, minute, min(second, 59), tzinfo=UTC)  # 60: a leap second
        return moment - timedelta(seconds=offset) if offset else moment, day
    except (ValueError, OverflowError):
        return None, day


def _usual_date(value: bytes) -> tuple[int, ...] | None:
    """Year, month, day, hour, minute, second, offset from UTC in seconds of the form that nearly all mail has."""
    match = _USUAL_DATE.fullmatch(value)
    if match is None:
        return None
    day, name, year, hour, minute, second, sign, hours, minutes = match.groups()
    offset = int(hours) * 3600 + int(minutes) * 60
    return int(year), _MONTHS[name], int(day), int(hour), int(minute), int(second), -offset if sign == b"-" else offset


def _any_date(value: bytes) -> tuple[int, ...]:
    """The same, from whatever can be understood."""
    parsed = parsedate_tz(charsets.decode(value[:_MAX_DATE], ""))
    if parsed is None:
        raise ValueError("not a date")
    return *parsed[:6], parsed[9] or 0


def _addresses(lookup: Lookup, name: bytes) -> list[tuple[str, str]]:
    bodies = lookup.all(name)
    if not bodies:
        return []
    value = b",".join(bodies)
    return list(_kept_pairs(value) if len(value) <= _KEPT_VALUE else _pairs(value))


def _pairs(value: bytes) -> tuple[tuple[str, str], ...]:
    return tuple(
        (decode(entry.name or b""), _address(entry.mailbox or b"", entry.host))
        for entry in addresses(value)
        if entry.host is not None
    )


_kept_pairs = lru_cache(_KEPT)(_pairs)


def _address(mailbox: bytes, host: bytes) -> str:
    return decode(mailbox + b"@" + host if host else mailbox)


def _message_ids(lookup: Lookup, name: bytes, unmarked: bool = False) -> list[str]:
    """The message ids of a field, each once, in order; `unmarked`: its whole value if there is none in <>."""
    value = lookup.first(name)
    if not value:
        return []
    value = value[:MAX_TEXT]
    found = _MESSAGE_ID.findall(value)
    if not found and unmarked:
        found = [value]
    return [charsets.decode(identifier, "") for identifier in dict.fromkeys(found)][:MAX_REFERENCES]


def attachments(message: Message, index: Index) -> Iterator[Attachment]:
    """The first `MAX_ATTACHMENTS`, in their order."""
    numbers: list[tuple[int, ...]] = []
    related: set[int] = set()
    count = 0
    for position in own_parts(index):
        node = index.nodes[position]
        if node.parent in related:
            related.add(position)
        if node.kind is MULTIPART:
            if node.subtype == "related":
                related.add(position)
            continue
        if count == MAX_ATTACHMENTS:
            return
        lookup = message.header(node)
        disposition = parameters.disposition(lookup.first(b"content-disposition") or b"")
        if _is_text(node, disposition):
            continue
        numbers = numbers or part_numbers(index)
        count += 1
        yield _attachment(node, lookup, disposition, ".".join(map(str, numbers[position])), position in related)


def _is_text(node: Node, disposition: Structured) -> bool:
    """Whether it is the message's own text: plain or HTML, and not marked as a file."""
    if node.type != "text" or node.subtype not in ("plain", "html") or disposition.value == "attachment":
        return False
    return not _text(disposition, "filename")


def _attachment(node: Node, lookup: Lookup, disposition: Structured, path: str, related: bool) -> Attachment:
    filename = _text(disposition, "filename")
    if not filename:
        filename = _text(parameters.media_type(lookup.first(b"content-type") or b""), "name")
    return Attachment(
        path=path,
        filename=filename,
        content_type=node.media_type,
        disposition=disposition.value,
        encoding=node.encoding,
        size=node.size,
        cid=decode((lookup.first(b"content-id") or b"")[:MAX_NAME].strip(b"<> \t")),
        related=related,
    )


def _text(structured: Structured, name: str) -> str:
    parameter = structured.parameter(name)
    return parameter.text[:MAX_NAME] if parameter else ""
