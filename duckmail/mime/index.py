"""Where the parts of one message are: a flat list of nodes in preorder, and its compact form for the database."""

from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

_VERSION = 1
_KEPT = 512  # words that are remembered as they are written; none has more than 255 octets
_HEAD = Struct("<BHI")  # version, number of strings, number of nodes
_RECORD = Struct("<iIIIIBHHH")  # parent, header start, body start, body end, lines, kind, type, subtype, encoding


class Kind(IntEnum):
    """How a node is read: as octets, as parts between delimiters, or as one embedded message (its only child)."""

    LEAF = 0
    MULTIPART = 1
    MESSAGE = 2


# A member costs ten times as much to look up in the enumeration as in a module, and every part is asked several times.
LEAF, MULTIPART, MESSAGE = Kind.LEAF, Kind.MULTIPART, Kind.MESSAGE


class Node(NamedTuple):
    """One body part, or the message itself (`parent` -1).

    `parent`: position in `Index.nodes`, always smaller than the node's own.
    `header_start`, `body_start`, `body_end`: octets from the start of the message. The header with its empty line is
    [header_start, body_start), the body as transferred is [body_start, body_end).
    `lines`: lines of the body, an unfinished last one included; counted for text/* and embedded messages (`MESSAGE`),
    0 for the rest.
    `type`, `subtype`: lower case. The effective ones: text/plain where nothing usable is declared (RFC 2045 §5.2).
    `encoding`: Content-Transfer-Encoding in lower case, `7bit` where none is declared.
    """

    parent: int
    kind: Kind
    header_start: int
    body_start: int
    body_end: int
    lines: int
    type: str
    subtype: str
    encoding: str

    @property
    def media_type(self) -> str:
        return f"{self.type}/{self.subtype}"

    @property
    def size(self) -> int:
        """Octets of the body as transferred."""
        return self.body_end - self.body_start


class Index:
    """The nodes of one message in preorder; the first is the message itself. Immutable."""

    __slots__ = ("_children", "nodes")

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = tuple(nodes)
        self._children: list[list[int]] | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Index) and self.nodes == other.nodes

    def __hash__(self) -> int:
        return hash(self.nodes)

    def __repr__(self) -> str:
        return f"Index({len(self.nodes)} nodes, {self.size} octets)"

    @property
    def size(self) -> int:
        """Octets of the message."""
        return self.nodes[0].body_end

    def children(self, position: int) -> Sequence[int]:
        """Positions of the direct children of the node at `position`, in the order of the message."""
        if self._children is None:
            children: list[list[int]] = [[] for _ in self.nodes]
            for child, node in enumerate(self.nodes[1:], 1):
                children[node.parent].append(child)
            self._children = children
        return self._children[position]

    def to_bytes(self) -> bytes:
        """The compact form: first octet the format's version; 27 octets a node plus its distinct words."""
        words: dict[str, int] = {}
        records = [
            _RECORD.pack(
                node.parent,
                node.header_start,
                node.body_start,
                node.body_end,
                node.lines,
                node.kind,
                words.setdefault(node.type, len(words)),
                words.setdefault(node.subtype, len(words)),
                words.setdefault(node.encoding, len(words)),
            )
            for node in self.nodes
        ]
        table = b"".join(map(_word, words))
        return b"".join((_HEAD.pack(_VERSION, len(words), len(records)), table, *records))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Index":
        """The inverse of `to_bytes`.

        Raises:
            ValueError: another version, or not what `to_bytes` wrote.
        """
        if len(data) < _HEAD.size or data[0] != _VERSION:
            raise ValueError("not an index of this version")
        try:
            return cls(_nodes(data))
        except IndexError:
            raise ValueError("a damaged index") from None


@lru_cache(_KEPT)
def _word(word: str) -> bytes:
    return bytes((len(word),)) + word.encode("ascii")


def _nodes(data: bytes) -> list[Node]:
    _, word_count, count = _HEAD.unpack_from(data)
    words: list[str] = []
    at = _HEAD.size
    for _ in range(word_count):
        stop = at + 1 + data[at]
        words.append(data[at + 1 : stop].decode("ascii"))
        at = stop
    if not count or len(data) - at != count * _RECORD.size:
        raise ValueError("an index of another length than it says")
    kinds = tuple(Kind)
    return [
        Node(parent, kinds[kind], start, body, end, lines, words[type_], words[subtype], words[encoding])
        for parent, start, body, end, lines, kind, type_, subtype, encoding in _RECORD.iter_unpack(data[at:])
    ]
