"""The octets behind `BODY[...]`: some in memory, then a range of the stored content.

What the client sees as the message is the prefix (header lines of its own) and the content, one after the other. Only
the first octets of BODY[] and the header know of the prefix; everything inside parts is a range of the content.
"""

import asyncio
from dataclasses import dataclass, replace

from duckmail.mime.header import select_fields
from duckmail.mime.section import SectionPart, section_range
from duckmail.model.message import Content, Needs, StoredMessage
from protocols.imap.wire.fetch import BodySection
from protocols.imap.wire.response import literal_header
from protocols.imap.writer import Writer

SEARCHED_HERE = 1 << 20  # octets of header times names looked for: a millisecond or two; more is done in a thread (H7)


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

    async def write_literal(self, writer: Writer) -> None:
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


def needs(item: BodySection) -> Needs:
    """What must be loaded for `find`."""
    return Needs.HEADER if not item.path and item.part is SectionPart.HEADER else Needs.CONTENT


async def find(message: StoredMessage, item: BodySection) -> Octets | None:
    """The octets of the section, None when the message has no such part."""
    octets = await _whole(message, item)
    if octets is None or item.partial is None:
        return octets
    return octets.partial(*item.partial)


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
