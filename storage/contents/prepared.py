"""A new message's octets, analysed and cut, on their way into the store. CPU work; no I/O."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field

from bson.int64 import Int64
from bson.objectid import ObjectId

from duckmail.mime.envelope import envelope
from duckmail.mime.index import Index, Kind
from duckmail.mime.message import Message
from duckmail.mime.scan import scan
from duckmail.mime.structure import bodystructure
from duckmail.mime.summary import Summary, summary
from storage.blobs.parts import NewPart
from storage.contents.segments import Leaf, new_part, plan, to_document
from storage.contents.stored import MAX_PIECE
from storage.contents.texts import has_only_id, text_document
from storage.mongo.client import Document

INLINE_STRUCTURE = 16 * 1024  # octets of ENVELOPE or BODYSTRUCTURE that a message document may hold
MAX_FIELD = 256 * 1024  # octets of one derived field in the contents document; larger ones become parts


@dataclass(slots=True, eq=False)
class PreparedContent:
    """Satisfies `duckmail.model.message.Content`; nothing of it is stored yet.

    `raw` is the caller's buffer: it must not change while this lives. `document`, `text_document`: ready to insert.
    `inserted`: they are in the database. `parts`: what has to be stored before; none are left when they are. `turn`:
    who stores them. `only_id`: a search of Message-ID has that of the summary to compare with and nothing else.
    """

    id: str
    raw: bytes | bytearray
    index: Index
    summary: Summary
    envelope: bytes
    bodystructure: bytes
    document: Document
    text_document: Document | None
    only_id: bool = False
    parts: Sequence[NewPart] = ()
    inserted: bool = False
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def size(self) -> int:
        return len(self.raw)

    @property
    def large(self) -> bool:
        """ENVELOPE or BODYSTRUCTURE is too long for a message document: it leaves both to `Contents.structures`."""
        return _is_large(self.envelope, self.bodystructure)

    @property
    def header(self) -> bytes:
        """The header block with its empty line."""
        return bytes(self.raw[: self.index.nodes[0].body_start])

    async def read(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """The octets from `start` up to `stop`, in pieces of at most 256 KiB; without I/O."""
        end = self.size if stop is None else min(stop, self.size)
        for position in range(max(start, 0), end, MAX_PIECE):
            yield bytes(self.raw[position : min(position + MAX_PIECE, end)])


def _is_large(*structures: bytes) -> bool:
    return any(len(structure) > INLINE_STRUCTURE for structure in structures)


def analyse(raw: bytes | bytearray) -> PreparedContent:
    """All that is known about a message.

    CPU: about 100 us for 4 KB, 10 ms per MiB of base64.
    """
    message = Message(raw)
    index = scan(message)
    cut = plan(raw, index.nodes[0].body_start, _leaves(index))
    parts = list(cut.parts)
    wire_envelope, wire_structure = envelope(message, index), bodystructure(message, index)
    identifier = ObjectId()
    document: Document = {
        "_id": identifier,
        "size": Int64(len(raw)),
        "headersize": Int64(index.nodes[0].body_start),
        "index": _field(index.to_bytes(), parts),
        "header": to_document(cut.header),
        "segments": [to_document(segment) for segment in cut.segments],
    }
    if _is_large(wire_envelope, wire_structure):
        document["envelope"] = _field(wire_envelope, parts)
        document["bodystructure"] = _field(wire_structure, parts)
    if parts:
        document["parts"] = list(dict.fromkeys(part.sha256 for part in parts))
    found, texts = summary(message, index), text_document(identifier, message, index, bool(parts))
    return PreparedContent(
        id=str(identifier),
        raw=raw,
        index=index,
        summary=found,
        envelope=wire_envelope,
        bodystructure=wire_structure,
        document=document,
        text_document=texts,
        only_id=has_only_id(message, index, texts, found.message_id),
        parts=parts,
    )


def _leaves(index: Index) -> Iterator[Leaf]:
    for node in index.nodes:
        if node.kind is Kind.LEAF:
            yield Leaf(node.body_start, node.body_end, node.encoding == "base64")


def _field(octets: bytes, parts: list[NewPart]) -> bytes | Document:
    """`octets`, or what names the part that they become when they are many."""
    if len(octets) <= MAX_FIELD:
        return octets
    part = new_part(octets)
    parts.append(part)
    return {"part": part.sha256, "size": part.length}
