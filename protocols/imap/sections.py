"""The octets behind `BODY[...]` and `BINARY[...]`: some in memory, then a range of the stored content.

What the client sees as the message is the prefix (header lines of its own) and the content, one after the other. Only
the first octets of BODY[] and the header know of the prefix; everything inside parts is a range of the content.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from duckmail.errors import UnknownEncoding
from duckmail.mime.header import select_fields
from duckmail.mime.section import SectionPart, find_part, section_range
from duckmail.mime.transfer import Decoder
from duckmail.model.message import Content, Needs, StoredMessage
from duckmail.runtime.turns import Turns
from protocols.imap.wire.fetch import BinarySection, BinarySize, BodySection, Section
from protocols.imap.wire.response import literal_header
from protocols.imap.writer import Writer

SEARCHED_HERE = 1 << 20  # octets of header times names looked for: a millisecond or two; more is done in a thread (H7)

ENCODINGS = frozenset(("7bit", "8bit", "binary", "base64", "quoted-printable"))


@dataclass(frozen=True, slots=True)
class Octets:
    """`memory`, then [start, stop) of `content`."""

    memory: bytes = b""
    content: Content | None = None
    start: int = 0
    stop: int = 0

    @property
    def size(self) -> int:
        return len(self.memory) + self.stop - self.start

    def partial(self, first: int, count: int) -> "Octets":
        """RFC 3501 §6.4.5: the octets from `first` on, at most `count`; none when `first` is behind the end."""
        last = first + count
        head = len(self.memory)
        start = min(self.start + max(0, first - head), self.stop)
        stop = min(self.start + max(0, last - head), self.stop)
        return replace(self, memory=self.memory[first:last], start=start, stop=stop)

    async def write(self, writer: Writer) -> None:
        """Piece by piece, at the client's pace.

        Raises:
            ValueError: the content gave another number of octets than it should have: the literal is broken.
        """
        writer.write(literal_header(self.size))
        writer.write(self.memory)
        left = self.stop - self.start
        if self.content is not None and left:
            async for piece in self.content.read(self.start, self.stop):
                left -= len(piece)
                writer.write(piece)
                await writer.room()
        if left:
            raise ValueError("a content is shorter or longer than its index says")

    async def pieces(self) -> AsyncIterator[bytes]:
        if self.memory:
            yield self.memory
        if self.content is not None and self.start < self.stop:
            async for piece in self.content.read(self.start, self.stop):
                yield piece

    async def read(self) -> bytes:
        """All of it: for who has room for `size` octets."""
        return b"".join([piece async for piece in self.pieces()])


@dataclass(frozen=True, slots=True)
class Binary:
    """`source` with its transfer encoding undone; of that `count` octets from `first` on, `nul`: one is NUL."""

    source: Octets
    encoding: str
    first: int
    count: int
    nul: bool

    @property
    def size(self) -> int:
        return self.count

    async def write(self, writer: Writer) -> None:
        """RFC 3516 §4.2: a literal8 where there is a NUL, decoded once more as it goes out."""
        writer.write((b"~" if self.nul else b"") + literal_header(self.count))
        skip, left = self.first, self.count
        async for piece in _decoded(self.source, self.encoding):
            wanted = piece[skip : skip + left]
            skip = max(0, skip - len(piece))
            left -= len(wanted)
            writer.write(wanted)
            await writer.room()
            if not left:
                break
        if left:
            raise ValueError("a content is shorter than it was")


@dataclass(frozen=True, slots=True)
class Size:
    """Of BINARY.SIZE."""

    octets: int

    @property
    def size(self) -> int:
        """Of what a client fetches: nothing."""
        return 0

    async def write(self, writer: Writer) -> None:
        writer.write(b"%d" % self.octets)


def needs(item: Section) -> Needs:
    """What must be loaded for `find`."""
    in_header = isinstance(item, BodySection) and not item.path and item.part is SectionPart.HEADER
    return Needs.HEADER if in_header else Needs.CONTENT


async def find(message: StoredMessage, item: Section) -> Octets | Binary | Size | None:
    """What is behind the section, None when the message has no such part. Raises: UnknownEncoding, Unavailable."""
    return await octets_of(message, item) if isinstance(item, BodySection) else await _binary(message, item)


async def octets_of(message: StoredMessage, item: BodySection) -> Octets | None:
    """As `find`. Raises: Unavailable."""
    octets = await _whole(message, item)
    if octets is None or item.partial is None:
        return octets
    return octets.partial(*item.partial)


async def _binary(message: StoredMessage, item: BinarySection | BinarySize) -> Binary | Size | None:
    """RFC 3516 §4.2, §4.3: of a part that is one; a multipart or a message inside has no encoding to undo."""
    source = await _whole(message, BodySection(item.path, SectionPart.BODY))
    if source is None or message.content is None:
        return Size(0) if isinstance(item, BinarySize) else None
    position = find_part(message.content.index, item.path) if item.path else None
    encoding = "binary" if position is None else message.content.index.nodes[position].encoding
    found = await decoded(source, encoding, item.partial if isinstance(item, BinarySection) else None)
    return Size(found.size) if isinstance(item, BinarySize) else found


async def decoded(source: Octets, encoding: str, partial: tuple[int, int] | None = None) -> Binary:
    """`source` without its transfer encoding, of that the `partial`. Raises: UnknownEncoding, Unavailable."""
    if encoding not in ENCODINGS:
        raise UnknownEncoding
    first, count = partial or (0, 1 << 63)
    size = at = 0
    nul = False
    async for piece in _decoded(source, encoding):
        wanted = piece[max(0, first - at) : max(0, first + count - at)]
        nul = nul or b"\0" in wanted
        size += len(wanted)
        at += len(piece)
    return Binary(source, encoding, first, size, nul)


async def measured(source: Octets, encoding: str) -> tuple[int, int]:
    """Octets and lines (an unfinished last one counts) without transfer encoding, a known one. Raises: Unavailable."""
    octets = lines = 0
    last = b"\n"
    async for piece in _decoded(source, encoding):
        octets += len(piece)
        lines += piece.count(b"\n")
        last = piece[-1:] or last
    return octets, lines + (last != b"\n")


async def _decoded(source: Octets, encoding: str) -> AsyncIterator[bytes]:
    """Piece by piece; a piece takes a millisecond at most, others run in between."""
    decoder = Decoder(encoding)
    turns = Turns()
    async for piece in source.pieces():
        yield decoder.feed(piece)
        await turns.pause()
    yield decoder.finish()


async def _whole(message: StoredMessage, item: BodySection) -> Octets | None:
    content = message.content
    if not item.path and item.part is SectionPart.HEADER:
        return Octets(await _selected(message.prefix + message.header, item))
    if content is None:
        raise AssertionError("a section was asked for without its content")
    if not item.path and item.part is SectionPart.BODY:
        return Octets(message.prefix, content, 0, content.size)
    span = section_range(content.index, item.path, item.part)
    if span is None:
        return None
    if item.fields:
        block = b"".join([piece async for piece in content.read(*span)])
        return Octets(await _selected(block, item))
    return Octets(b"", content, *span)


async def _selected(block: bytes, item: BodySection) -> bytes:
    if not item.fields:
        return block
    names = frozenset(item.fields)
    if len(block) * len(names) <= SEARCHED_HERE:
        return select_fields(block, names, item.invert)
    return await asyncio.to_thread(select_fields, block, names, item.invert)
