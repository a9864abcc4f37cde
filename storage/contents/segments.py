"""How a content's octets are cut: the header block, then segments, inline or parts. Pure; CPU work for a thread.

The concatenation of header block and segments is the content. Leaf bodies of some size become parts, so that the same
attachment is stored once; base64 is stored decoded when that can be undone exactly, so that differently wrapped copies
are the same part.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import NamedTuple

from storage.blobs.files import CHUNK
from storage.blobs.framing import Framing, decoded_pieces, find_core
from storage.blobs.parts import NewPart
from storage.mongo.client import Document

LEAF_PART = 192 * 1024  # encoded octets; a smaller one costs more as a part of its own (docs/adr/0010)
MAX_INLINE_RUN = 256 * 1024
MAX_INLINE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf body that could be a part: its octets in the content, and whether they claim to be base64."""

    start: int
    stop: int
    base64: bool


class Inline(NamedTuple):
    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)


@dataclass(frozen=True, slots=True)
class Stored:
    """`size`: octets in the content. `length`: octets of the part, fewer when it is stored decoded (`framing`)."""

    sha256: bytes
    size: int
    length: int
    framing: Framing | None = None


Segment = Inline | Stored


class Plan(NamedTuple):
    """`header` and `segments` in their order are the content. `parts`: each once, pieces read from the raw octets."""

    header: Segment
    segments: list[Segment]
    parts: list[NewPart]


@dataclass(frozen=True, slots=True)
class _Cut:
    start: int
    stop: int
    part: NewPart
    framing: Framing | None = None

    @property
    def segment(self) -> Stored:
        return Stored(self.part.sha256, self.stop - self.start, self.part.length, self.framing)


def plan(raw: bytes | bytearray, header: int, leaves: Iterable[Leaf]) -> Plan:
    """Cuts `raw`, whose header block is `header` octets long; `leaves` ascending and disjoint."""
    if len(raw) < LEAF_PART:  # nearly all mail; also below every other limit
        return Plan(Inline(bytes(raw[:header])), [Inline(bytes(raw[header:]))] if len(raw) > header else [], [])
    cuts = [_cut_leaf(raw, leaf) for leaf in leaves if leaf.stop - leaf.start >= LEAF_PART]
    cuts += [_cut_raw(raw, start, stop) for start, stop in _spills(_runs(cuts, header, len(raw)))]
    cuts.sort(key=lambda cut: cut.start)
    segments: list[Segment] = []
    position = header
    for cut in cuts:
        if cut.start > position:
            segments.append(Inline(_octets(raw, position, cut.start)))
        segments.append(cut.segment)
        position = cut.stop
    if len(raw) > position:
        segments.append(Inline(_octets(raw, position, len(raw))))
    parts = {cut.part.sha256: cut.part for cut in cuts}
    if header <= MAX_INLINE_RUN:
        return Plan(Inline(_octets(raw, 0, header)), segments, list(parts.values()))
    head = _cut_raw(raw, 0, header)
    parts[head.part.sha256] = head.part
    return Plan(head.segment, segments, list(parts.values()))


def _runs(cuts: Sequence[_Cut], start: int, stop: int) -> Iterator[tuple[int, int]]:
    for cut in cuts:
        if cut.start > start:
            yield start, cut.start
        start = cut.stop
    if stop > start:
        yield start, stop


def _spills(runs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The inline runs that have to become parts: the long ones, and the longest until the rest is small enough."""
    longest_first = sorted(runs, key=lambda run: run[0] - run[1])
    total = sum(stop - start for start, stop in longest_first)
    for start, stop in longest_first:
        if stop - start <= MAX_INLINE_RUN and total <= MAX_INLINE:
            return
        total -= stop - start
        yield start, stop


def _cut_leaf(raw: bytes | bytearray, leaf: Leaf) -> _Cut:
    core = find_core(raw, leaf.start, leaf.stop) if leaf.base64 else None
    if core is None:
        return _cut_raw(raw, leaf.start, leaf.stop)
    pieces = partial(decoded_pieces, raw, core.start, core.stop, core.framing)
    return _Cut(core.start, core.stop, NewPart(core.sha256, core.length, pieces), core.framing)


def _cut_raw(raw: bytes | bytearray, start: int, stop: int) -> _Cut:
    digest = sha256()
    for piece in _raw_pieces(raw, start, stop):
        digest.update(piece)
    return _Cut(start, stop, NewPart(digest.digest(), stop - start, partial(_raw_pieces, raw, start, stop)))


def _raw_pieces(raw: bytes | bytearray, start: int, stop: int) -> Iterator[bytes]:
    for position in range(start, stop, CHUNK):
        yield _octets(raw, position, min(position + CHUNK, stop))


def _octets(raw: bytes | bytearray, start: int, stop: int) -> bytes:
    with memoryview(raw) as view:
        return bytes(view[start:stop])


def new_part(octets: bytes) -> NewPart:
    """A part that is not in the message itself, such as its MIME index."""
    return NewPart(sha256(octets).digest(), len(octets), partial(_raw_pieces, octets, 0, len(octets)))


def to_document(segment: Segment) -> bytes | Document:
    if isinstance(segment, Inline):
        return segment.data
    document: Document = {"part": segment.sha256, "size": segment.size}
    if segment.framing is not None:
        document |= {"length": segment.length, "line": segment.framing.line, "eol": segment.framing.eol}
    return document


def from_document(document: bytes | Document) -> Segment:
    if isinstance(document, bytes):
        return Inline(document)
    size = int(document["size"])
    if "line" not in document:
        return Stored(document["part"], size, size)
    framing = Framing(document["line"], document["eol"])
    return Stored(document["part"], size, int(document["length"]), framing)
