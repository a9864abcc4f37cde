"""The decoded text of a message, for search and preview."""

import re
from collections.abc import Iterator

from duckmail.mime import charsets, parameters
from duckmail.mime.header import decode_words, fields_of
from duckmail.mime.html import collapse, html_text
from duckmail.mime.index import Index, Kind, Node
from duckmail.mime.scan import Buffer, Raw, buffer, header_block
from duckmail.mime.transfer import PIECE, decoded

_MAX_SEARCHED = 16 << 20
_PREVIEW_SOURCE = {"html": (1024, 131072), "plain": (1024, 8192)}
"""Characters of a part that a preview is made from; HTML often begins with a long style sheet. Few are tried first."""
_PREVIEW_MARGIN = 64
"""Characters at the end of a text whose source was cut that may not be what is there: half an entity, say."""

_FIELD_START = re.compile(rb"\n(?![ \t])")
_FOLD = re.compile(rb"\r?\n(?=[ \t])")


def decoded_header(block: bytes) -> str:
    """A header block with its fields unfolded and their words decoded, a line per field; its first 16 MiB."""
    block = block[:_MAX_SEARCHED]
    pieces: list[str] = []
    at = 0
    while at < len(block):
        match = _FIELD_START.search(block, at + PIECE)
        stop = match.end() if match else len(block)
        pieces.append(decode_words(_FOLD.sub(b"", block[at:stop])).replace("\r\n", "\n"))
        at = stop
    return "".join(pieces)


def decoded_text(raw: Raw, index: Index, limit: int) -> Iterator[str]:
    """What SEARCH BODY looks in: the headers of all parts and embedded messages and the text/* leaves, in their order.

    In pieces of at most 64 Ki characters (headers whole), in all at most `limit` characters. A word may be cut between
    two pieces; between two parts there is always a line end. Of the octets of other leaves nothing is read.
    """
    octets = buffer(raw)
    left = limit
    for piece in _pieces(octets, index):
        if len(piece) >= left:
            yield piece[:left]
            return
        left -= len(piece)
        yield piece


def _pieces(octets: Buffer, index: Index) -> Iterator[str]:
    for position, node in enumerate(index.nodes):
        if position:
            yield decoded_header(header_block(octets, node))
        if node.kind is Kind.LEAF and node.type == "text":
            yield from part_text(octets, node)
            yield "\n"


def part_text(octets: Buffer, node: Node) -> Iterator[str]:
    """The text of one leaf, transfer encoding and charset undone, in pieces of at most 64 Ki characters."""
    declared = parameters.media_type(fields_of(header_block(octets, node)).first(b"content-type") or b"")
    charset = declared.parameter("charset")
    decoder = charsets.decoder(charset.text if charset else "")
    for piece in decoded(octets, node.body_start, node.body_end, node.encoding):
        if text := decoder.decode(piece):
            yield text
    if text := decoder.decode(b"", True):
        yield text


def preview(raw: Raw, index: Index, length: int) -> str:
    """The beginning of the message's own text on one line, at most `length` characters and "…" if there is more.

    HTML is preferred, as it is what the reader will see; "" if there is no text.
    """
    octets = buffer(raw)
    candidates = [node for node in own_leaves(index) if node.type == "text" and node.subtype in ("html", "plain")]
    candidates.sort(key=lambda node: node.subtype)
    for node in candidates[:10]:
        if _is_attached(octets, node):
            continue
        text = _beginning(octets, node, length)
        if text:
            return text if len(text) <= length else text[:length].rstrip() + "…"
    return ""


def _beginning(octets: Buffer, node: Node, length: int) -> str:
    """The text of one leaf on one line: all of it, or its beginning, longer than `length`."""
    text = ""
    for characters in _PREVIEW_SOURCE[node.subtype]:
        source = "".join(_up_to(part_text(octets, node), characters))
        text = collapse(html_text(source) if node.subtype == "html" else source)
        if len(source) < characters:
            return text
        if len(text) > length + _PREVIEW_MARGIN:
            break
    return text


def own_leaves(index: Index) -> Iterator[Node]:
    """The leaves of the message itself, not those of messages embedded in it."""
    inside = [False] * len(index.nodes)
    for position, node in enumerate(index.nodes):
        if node.parent >= 0:
            inside[position] = inside[node.parent] or index.nodes[node.parent].kind is Kind.MESSAGE
        if node.kind is Kind.LEAF and not inside[position]:
            yield node


def _is_attached(octets: Buffer, node: Node) -> bool:
    value = fields_of(header_block(octets, node)).first(b"content-disposition")
    return value is not None and parameters.disposition(value).value == "attachment"


def _up_to(pieces: Iterator[str], length: int) -> Iterator[str]:
    for piece in pieces:
        yield piece[:length]
        length -= len(piece)
        if length <= 0:
            return
