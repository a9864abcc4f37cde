"""What RFC 5524 lets URLFETCH tell of a URL: octets, as they are or without transfer encoding, and the structure."""

import asyncio
from collections.abc import Collection
from dataclasses import replace

from duckmail.errors import UnknownEncoding
from duckmail.mime.index import Index, Kind
from duckmail.mime.section import SectionPart, find_part
from duckmail.mime.structure import decoded_part, part
from duckmail.model.message import StoredMessage
from protocols.imap import sections
from protocols.imap.fetching import SHORTENED_HERE
from protocols.imap.sections import ENCODINGS, Binary, Octets
from protocols.imap.wire.fetch import BodySection

UrlData = bytes | Octets | Binary


async def url_data(message: StoredMessage, section: BodySection, name: str, asked: Collection[str]) -> UrlData:
    """The value of the parameter `name`, one of those `asked`, for a section that the message has.

    Raises: Unavailable.
    """
    if name == "BODYPARTSTRUCTURE":
        return await _structure(message, section, as_binary="BINARY" in asked)
    if name == "BODY":
        return await _octets(message, section)
    try:
        source = await _octets(message, replace(section, partial=None))
        return await sections.decoded(source, _encoding(message, section), section.partial)
    except UnknownEncoding:
        return b"NIL"  # RFC 5524 §3.2


async def _octets(message: StoredMessage, section: BodySection) -> Octets:
    found = await sections.octets_of(message, section)
    if found is None:
        raise AssertionError("a section that was there")
    return found


async def _structure(message: StoredMessage, section: BodySection, *, as_binary: bool) -> bytes:
    """BODYPARTSTRUCTURE (RFC 5259 §8.2): of all of the part, though the URL may name some of its octets only.

    RFC 5524 §3.2: it tells of the part as it is returned, so with BINARY it has no transfer encoding.
    """
    source = await _octets(message, replace(section, partial=None))
    if section.part in (SectionPart.HEADER, SectionPart.MIME):
        octets, lines = await sections.measured(source, "8bit")
        return b'("TEXT" "RFC822-HEADERS" NIL NIL NIL "8BIT" %d %d NIL NIL NIL NIL)' % (octets, lines)
    index = _index(message)
    position = _node(index, section) or 0
    if len(message.bodystructure) <= SHORTENED_HERE:
        found = part(message.bodystructure, index, position)
    else:
        found = await asyncio.to_thread(part, message.bodystructure, index, position)
    encoding = _encoding(message, section)
    if not as_binary or encoding not in ENCODINGS or encoding in ("7bit", "8bit", "binary"):
        return found
    return decoded_part(found, *await sections.measured(source, encoding))


def _encoding(message: StoredMessage, section: BodySection) -> str:
    """The transfer encoding of the octets of the section: of the body of a part that has none itself."""
    index = _index(message)
    position = _node(index, section)
    if position is None or index.nodes[position].kind is not Kind.LEAF:
        return "binary"
    return index.nodes[position].encoding


def _node(index: Index, section: BodySection) -> int | None:
    """The node whose body the section is; None: it is a header, or all of the message."""
    if section.part is SectionPart.BODY:
        return find_part(index, section.path) if section.path else None
    if section.part is not SectionPart.TEXT:
        return None
    above = find_part(index, section.path) if section.path else -1
    return None if above is None else above + 1


def _index(message: StoredMessage) -> Index:
    if message.content is None:
        raise AssertionError("a message of a URL comes with its content")
    return message.content.index
