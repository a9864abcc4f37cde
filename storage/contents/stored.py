"""A content as it was loaded: any range of its octets, read from where they are."""

from bisect import bisect_right
from collections.abc import AsyncIterator, Iterator
from itertools import accumulate

from bson.objectid import ObjectId

from duckmail.errors import Unavailable
from duckmail.mime.index import Index
from storage.blobs.framing import span
from storage.blobs.parts import Parts
from storage.contents.segments import Inline, Stored, from_document
from storage.mongo.client import Document

MAX_PIECE = 256 * 1024
_LINE_END = 2  # octets behind the base64 of a part at most


def pieces(octets: bytes, start: int, stop: int) -> Iterator[bytes]:
    """`octets[start:stop]` in pieces of at most MAX_PIECE."""
    for position in range(start, stop, MAX_PIECE):
        yield octets[position : min(position + MAX_PIECE, stop)]


class StoredContent:
    """Satisfies `duckmail.model.message.Content`. Loaded with the header only, it has nothing but that and its sizes.

    `header_size`: octets of the header block, its empty line included.
    """

    def __init__(self, document: Document, packed_index: bytes | None, parts: Parts) -> None:
        self._id = str(document["_id"])
        self._size = int(document["size"])
        self.header_size = int(document["headersize"])
        self._packed_index = packed_index
        self._index: Index | None = None
        self._parts = parts
        self._files: dict[bytes, ObjectId] = {}
        self._segments = [from_document(document["header"]), *map(from_document, document.get("segments", ()))]
        self._starts = [0, *accumulate(segment.size for segment in self._segments)]

    @property
    def id(self) -> str:
        return self._id

    @property
    def size(self) -> int:
        return self._size

    @property
    def index(self) -> Index:
        if self._index is None:
            if self._packed_index is None:
                raise RuntimeError("the content was loaded without its index")
            self._index = Index.from_bytes(self._packed_index)
        return self._index

    @property
    def inline(self) -> bytes | None:
        """All octets, when none of them is in a part."""
        data = [segment.data for segment in self._segments if isinstance(segment, Inline)]
        return b"".join(data) if len(data) == len(self._segments) else None

    async def header_block(self) -> bytes:
        """The header block with its empty line; without I/O unless it is very large.

        Raises:
            Unavailable: the database does not answer.
        """
        return b"".join([piece async for piece in self.read(0, self.header_size)])

    async def read(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """The octets from `start` up to `stop`, in pieces of at most 256 KiB; without I/O when they are inline.

        Raises:
            Unavailable: the database does not answer, or a part is missing.
        """
        end = self._size if stop is None else min(stop, self._size)
        position = max(start, 0)
        while position < end:
            number = bisect_right(self._starts, position) - 1
            segment, base = self._segments[number], self._starts[number]
            low, high = position - base, min(end - base, segment.size)
            if isinstance(segment, Inline):
                for piece in pieces(segment.data, low, high):
                    yield piece
            else:
                async for octets in self._read_part(segment, low, high):
                    for piece in pieces(octets, 0, len(octets)):
                        yield piece
            position = base + high

    def part(self, start: int, stop: int) -> tuple[bytes, int] | None:
        """When the body [start, stop) is kept outside: SHA-256 and size of its decoded octets, b"" and its size as it
        is when it is kept encoded. None when it is inline."""
        at = bisect_right(self._starts, start) - 1
        segment = self._segments[at] if at < len(self._segments) else None
        if not isinstance(segment, Stored):
            return None
        whole = segment.framing is not None and self._starts[at : at + 2] == [start, start + segment.size]
        rest = stop - start - segment.size
        return (segment.sha256, segment.length) if whole and 0 <= rest <= _LINE_END else (b"", stop - start)

    async def _read_part(self, part: Stored, start: int, stop: int) -> AsyncIterator[bytes]:
        file = await self._file(part.sha256)
        if part.framing is None:
            async for piece in self._parts.files.read(file, start, stop):
                yield piece
            return
        encoding = span(part.framing, part.length, start, stop)
        skip, left = encoding.skip, stop - start
        async for piece in self._parts.files.read(file, encoding.start, encoding.stop):
            text = encoding.encoder.feed(piece)
            octets = text[skip : skip + left]
            skip -= min(skip, len(text))
            left -= len(octets)
            yield octets
        if left:
            yield encoding.encoder.finish()[skip : skip + left]

    async def _file(self, sha256: bytes) -> ObjectId:
        if not self._files:
            wanted = {segment.sha256 for segment in self._segments if isinstance(segment, Stored)}
            self._files = await self._parts.locate(wanted)
        try:
            return self._files[sha256]
        except KeyError:
            raise Unavailable(error="a part is missing", part=sha256.hex(), content=self._id) from None
