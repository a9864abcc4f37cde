"""One message as everything that describes it looks at it: octets to search, and headers that are listed once."""

from mmap import mmap

from duckmail.mime.header import Lookup
from duckmail.mime.index import Node

MAX_HEADER = 4 << 20
"""Octets of one header that are read for its meaning."""
_KEPT = 32  # headers that are kept; a message has few parts, or so many that its time goes elsewhere ...
_KEPT_BLOCK = 16384  # ... when they have at most so many octets

Raw = bytes | bytearray | memoryview | mmap
Buffer = bytes | bytearray | mmap


class Message:
    """The octets of a message, which must not change while this lives, and its headers as far as they were asked for.

    `raw` is not copied, unless it is a memoryview of only a part of its object.
    """

    __slots__ = ("_headers", "octets")

    def __init__(self, raw: Raw) -> None:
        self.octets = _searchable(raw)
        self._headers: dict[tuple[int, int], Lookup] = {}

    def header(self, node: Node) -> Lookup:
        """The fields of a part's header."""
        return self._headers.get((node.header_start, node.body_start)) or self.header_at(
            node.header_start, node.body_start
        )

    def header_at(self, start: int, body: int) -> Lookup:
        """The fields of the header [start, body)."""
        lookup = self._headers.get((start, body))
        if lookup is None:
            lookup = Lookup(self.block_at(start, body))
            if body - start <= _KEPT_BLOCK and len(self._headers) < _KEPT:
                self._headers[start, body] = lookup
        return lookup

    def block(self, node: Node) -> bytes:
        """A part's header with its empty line, as far as it is read for its meaning (`MAX_HEADER`)."""
        return self.block_at(node.header_start, node.body_start)

    def block_at(self, start: int, body: int) -> bytes:
        return bytes(self.octets[start : min(body, start + MAX_HEADER)])


def message_of(raw: Raw | Message) -> Message:
    """`raw` as a `Message`. Who asks several things of one message makes the `Message` first, and gives that."""
    return raw if isinstance(raw, Message) else Message(raw)


def _searchable(raw: Raw) -> Buffer:
    if not isinstance(raw, memoryview):
        return raw
    if isinstance(raw.obj, (bytes, bytearray, mmap)) and raw.nbytes == len(raw.obj) and raw.c_contiguous:
        return raw.obj
    return bytes(raw)
