"""The decoded text of a message, for search and preview."""

import re
from collections.abc import Iterator, Sequence

from duckmail.mime import charsets, parameters
from duckmail.mime.header import Lookup, decode_words
from duckmail.mime.html import collapse, html_text
from duckmail.mime.index import LEAF, MESSAGE, Index, Node
from duckmail.mime.message import Message, Raw, message_of
from duckmail.mime.transfer import PIECE, decoded

_MAX_SEARCHED = 16 << 20
TEXT_TYPES = frozenset(("text", "message"))
"""Types of leaves that are read as text: those of message are reports (RFC 3464 §2.1, RFC 8098 §3) and their like."""
_PREVIEW_SOURCE = {"html": (256, 1024, 131072), "plain": (256, 8192)}
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


def decoded_text(raw: Raw | Message, index: Index, limit: int) -> Iterator[str]:
    """What SEARCH BODY looks in: the headers of all parts and embedded messages and the text/* and message/* leaves.

    In pieces of at most 64 Ki characters (headers whole), in all at most `limit` characters. A word may be cut between
    two pieces; between two parts there is always a line end. Of the octets of other leaves nothing is read.
    """
    left = limit
    for piece in _pieces(message_of(raw), index):
        if len(piece) >= left:
            yield piece[:left]
            return
        left -= len(piece)
        yield piece


def _pieces(message: Message, index: Index) -> Iterator[str]:
    for position, node in enumerate(index.nodes):
        if position:
            yield decoded_header(message.block(node))
        if node.kind is LEAF and node.type in TEXT_TYPES:
            yield from part_text(message, node)
            yield "\n"


def part_text(message: Message, node: Node) -> Iterator[str]:
    """The text of one leaf, transfer encoding and charset undone, in pieces of at most 64 Ki characters."""
    declared = parameters.media_type(message.header(node).first(b"content-type") or b"")
    parameter = declared.parameter("charset")
    charset = parameter.text if parameter else ""
    pieces = decoded(message.octets, node.body_start, node.body_end, node.encoding)
    if node.size <= PIECE and charsets.extends_ascii(charset):
        octets = list(pieces)
        if all(map(bytes.isascii, octets)):
            if text := b"".join(octets).decode("ascii"):
                yield text
            return
        pieces = iter(octets)
    decoder = charsets.decoder(charset)
    for piece in pieces:
        if text := decoder.decode(piece):
            yield text
    if text := decoder.decode(b"", True):
        yield text


def preview(raw: Raw | Message, index: Index, length: int) -> str:
    """The beginning of the message's own text on one line, at most `length` characters and "…" if there is more.

    HTML is preferred, as it is what the reader will see; "" if there is no text.
    """
    message = message_of(raw)
    candidates = [node for node in own_leaves(index) if node.type == "text" and node.subtype in ("html", "plain")]
    candidates.sort(key=lambda node: node.subtype)
    for node in candidates[:10]:
        if _is_attached(message.header(node)):
            continue
        text = _beginning(message, node, length)
        if text:
            return text if len(text) <= length else text[:length].rstrip() + "…"
    return ""


def _beginning(message: Message, node: Node, length: int) -> str:
    """The text of one leaf on one line: all of it, or its beginning, longer than `length`."""
    pieces = part_text(message, node)
    read = text = ""
    for characters in _PREVIEW_SOURCE[node.subtype]:
        while len(read) < characters and (piece := next(pieces, "")):
            read += piece
        source = read[:characters]
        text = collapse(html_text(source) if node.subtype == "html" else source)
        if len(source) < characters:
            return text
        if len(text) > length + _PREVIEW_MARGIN:
            break
    return text


def own_parts(index: Index) -> Sequence[int]:
    """The positions of all that is not inside an embedded message."""
    if MESSAGE not in [node.kind for node in index.nodes]:
        return range(len(index.nodes))
    found: list[int] = []
    embedded = len(index.nodes)
    for position, node in enumerate(index.nodes):
        # In preorder what is in a message follows it, and its parent is that message or inside it.
        if node.parent < embedded:
            found.append(position)
            embedded = position if node.kind is MESSAGE else len(index.nodes)
    return found


def own_leaves(index: Index) -> list[Node]:
    """The leaves of the message itself, not those of messages embedded in it."""
    return [node for node in map(index.nodes.__getitem__, own_parts(index)) if node.kind is LEAF]


def _is_attached(lookup: Lookup) -> bool:
    value = lookup.first(b"content-disposition")
    return value is not None and parameters.disposition(value).value == "attachment"
