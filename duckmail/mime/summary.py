"""What listings, sorting and threads need of a message, as decoded text."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_tz

from duckmail.mime import charsets, parameters
from duckmail.mime.address import addresses
from duckmail.mime.header import Lookup, decode, fields_of
from duckmail.mime.index import Index, Kind, Node
from duckmail.mime.parameters import Structured
from duckmail.mime.scan import Buffer, Raw, buffer, header_block
from duckmail.mime.section import part_numbers
from duckmail.mime.text import preview

INTRO = 128
"""Characters of the preview, not counting the "…" of a longer text."""
MAX_ATTACHMENTS = 1000
MAX_REFERENCES = 1000
MAX_NAME = 1000
"""Characters of a file name or content id."""
MAX_TEXT = 65536
"""Octets of a header field that are read as text."""
_MAX_DATE = 200

# RFC 5322 §3.6.4: msg-id = "<" id-left "@" id-right ">"
_MESSAGE_ID = re.compile(rb"<[^<>\s]++>")


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


@dataclass(frozen=True, slots=True)
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


def summary(raw: Raw, index: Index) -> Summary:
    octets = buffer(raw)
    lookup = fields_of(header_block(octets, index.nodes[0]))
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
        intro=preview(octets, index, INTRO),
        attachments=list(_attachments(octets, index)),
    )


def parse_date(value: bytes) -> tuple[datetime | None, date | None]:
    """The body of a Date field as a moment in UTC and as the day it names; None for what it does not give."""
    try:
        parsed = parsedate_tz(charsets.decode(value[:_MAX_DATE], ""))
        if parsed is None:
            return None, None
        day = date(*parsed[:3])
    except (ValueError, TypeError, IndexError, OverflowError):  # the parser is not total on junk
        return None, None
    hour, minute, second, offset = parsed[3], parsed[4], min(parsed[5], 59), parsed[9] or 0  # 60: a leap second
    try:
        return datetime(*parsed[:3], hour, minute, second, tzinfo=UTC) - timedelta(seconds=offset), day
    except (ValueError, OverflowError):
        return None, day


def _addresses(lookup: Lookup, name: bytes) -> list[tuple[str, str]]:
    return [
        (decode(entry.name or b""), _address(entry.mailbox or b"", entry.host))
        for entry in addresses(b",".join(lookup.all(name)))
        if entry.host is not None
    ]


def _address(mailbox: bytes, host: bytes) -> str:
    return decode(mailbox + b"@" + host if host else mailbox)


def _message_ids(lookup: Lookup, name: bytes, unmarked: bool = False) -> list[str]:
    """The message ids of a field, each once, in order; `unmarked`: its whole value if there is none in <>."""
    value = (lookup.first(name) or b"")[:MAX_TEXT]
    found = _MESSAGE_ID.findall(value)
    if not found and unmarked and value:
        found = [value]
    return [charsets.decode(identifier, "") for identifier in dict.fromkeys(found)][:MAX_REFERENCES]


def _attachments(octets: Buffer, index: Index) -> Iterator[Attachment]:
    numbers = part_numbers(index)
    inside = [False] * len(index.nodes)  # of an embedded message
    related = [False] * len(index.nodes)
    count = 0
    for position, node in enumerate(index.nodes):
        if node.parent >= 0:
            above = index.nodes[node.parent]
            inside[position] = inside[node.parent] or above.kind is Kind.MESSAGE
            related[position] = related[node.parent] or above.media_type == "multipart/related"
        if inside[position] or node.kind is Kind.MULTIPART or count == MAX_ATTACHMENTS:
            continue
        attachment = _attachment(octets, node, ".".join(map(str, numbers[position])), related[position])
        if attachment is not None:
            count += 1
            yield attachment


def _attachment(octets: Buffer, node: Node, path: str, related: bool) -> Attachment | None:
    """None for the message's own text: plain or HTML, and not marked as a file."""
    lookup = fields_of(header_block(octets, node))
    disposition = parameters.disposition(lookup.first(b"content-disposition") or b"")
    filename = _text(disposition, "filename")
    if node.media_type in ("text/plain", "text/html") and disposition.value != "attachment" and not filename:
        return None
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
