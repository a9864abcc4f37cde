"""Decoded text for search: kept in `texts` where making it is work, made from the content where it is not."""

import mmap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bson.objectid import ObjectId

from duckmail.mime.collation import casemap
from duckmail.mime.header import may_have_words
from duckmail.mime.index import Index, Kind
from duckmail.mime.message import MAX_HEADER, Message
from duckmail.mime.text import TEXT_TYPES, decoded_header, decoded_text
from duckmail.mime.words import fields
from storage.contents.stored import StoredContent
from storage.mongo.client import Document

MAX_TEXT = 1024 * 1024  # octets kept; longer text is decoded from the content when it is searched
KEPT_HEADER = 256 * 1024
# Encodings whose text is the octets themselves: nothing is won by keeping it a second time.
_PLAIN = frozenset(("7bit", "8bit", "binary"))
_ID_FIELD = casemap("message-id")
# All of ASCII that `str.splitlines` takes for a line end, and `str.strip` for white space.
_WHITE = tuple(bytes((octet,)) for octet in b" \t\n\r\v\f\x1c\x1d\x1e\x1f")


def searchable(index: Index) -> Iterator[tuple[int, int]]:
    """The octets that hold text: all but the bodies of leaves that are none. Ascending and disjoint."""
    position = index.nodes[0].body_start
    yield 0, min(position, MAX_HEADER)
    for node in index.nodes:
        if node.kind is Kind.LEAF and node.type not in TEXT_TYPES:
            if node.body_start > position:
                yield position, node.body_start
            position = max(position, node.body_end)
    if index.size > position:
        yield position, index.size


def is_large(index: Index) -> bool:
    """More text than `texts` keeps."""
    return index.size > MAX_TEXT and sum(stop - start for start, stop in searchable(index)) > MAX_TEXT


def text_document(identifier: ObjectId, message: Message, index: Index, has_parts: bool) -> Document | None:
    """The `texts` document of a content; None when it would save too little or be too long."""
    if index.nodes[0].body_start > KEPT_HEADER or is_large(index):
        return None
    header = message.header(index.nodes[0]).block
    encoded = any(node.encoding not in _PLAIN and node.type in TEXT_TYPES for node in index.nodes)
    if not (has_parts or encoded or may_have_words(header)):
        return None
    text = "".join(_all_text(message, index))
    if len(text.encode()) > MAX_TEXT:
        return None
    return {"_id": identifier, "header": decoded_header(header), "text": text}


def has_only_id(message: Message, index: Index, texts: Document | None, identifier: str) -> bool:
    """Whether a search of Message-ID has this one to compare with and no other; none at all when it is empty.

    `texts`: as `text_document` made it. What stands beside it, a second field, or one that a decoded word has in it are
    others. False also when it is too much work to tell.
    """
    if index.nodes[0].body_start > KEPT_HEADER:
        return False
    block = message.header(index.nodes[0]).block
    if _has_plain_id(block, identifier):
        return True
    header = texts["header"] if texts else decoded_header(block)
    found = [value for name, value in fields(casemap(header)) if name == _ID_FIELD]
    return found == ([casemap(identifier)] if identifier else [])


def _has_plain_id(block: bytes, identifier: str) -> bool:
    """The usual case without decoding: nothing is encoded, and one line begins with the name; behind it is the id."""
    if may_have_words(block) or not block.isascii() or not (identifier.isprintable() and identifier.startswith("<")):
        return False
    lowered = b"\n" + block.lower()
    line = f"\nmessage-id: {identifier.lower()}\r\n".encode()
    at = lowered.find(line)
    folded = lowered[at + len(line) : at + len(line) + 1] in (b" ", b"\t")
    # What begins a line has white space before it; signatures name the field too, between colons.
    begins = [before for before in lowered.split(b"message-id")[:-1] if before.endswith(_WHITE)]
    return at >= 0 and not folded and len(begins) == 1


def _all_text(octets: bytes | mmap.mmap | Message, index: Index) -> Iterator[str]:
    # No charset makes more characters than there are octets; every part adds a line end.
    return decoded_text(octets, index, index.size + len(index.nodes))


class SearchText:
    """What SEARCH looks in, of one content. Decoding happens on access and is CPU work: use it in a thread."""

    def __init__(self, identifier: str, header: str = "", text: str = "", source: "Source | None" = None) -> None:
        """`header`, `text`: decoded already; or `source`, to decode them from."""
        self.id = identifier
        self._header = header
        self._text = text
        self._source = source

    @property
    def header(self) -> str:
        """The decoded header block."""
        if self._source is None:
            return self._header
        return decoded_header(self._source.octets[: min(self._source.header, MAX_HEADER)])

    @property
    def body(self) -> Iterable[str]:
        """The decoded text of the body, piece by piece."""
        if self._source is None:
            return (self._text,)
        return _all_text(self._source.octets, self._source.index)


@dataclass(frozen=True, slots=True)
class Source:
    """A content's octets where they hold text; elsewhere they may be zero. `header`: the header block's octets."""

    octets: bytes | mmap.mmap
    index: Index
    header: int


async def load_source(content: StoredContent) -> Source:
    """Reads what of a content holds text.

    Octets in between (attachments) are pages of an anonymous map that nobody writes: they cost no memory.

    Raises:
        Unavailable: the database does not answer.
    """
    if content.inline is not None:
        return Source(content.inline, content.index, content.header_size)
    octets = mmap.mmap(-1, content.size)
    for start, stop in searchable(content.index):
        position = start
        async for piece in content.read(start, stop):
            octets[position : position + len(piece)] = piece
            position += len(piece)
    return Source(octets, content.index, content.header_size)
