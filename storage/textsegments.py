"""Segments of the index of texts: matrices of bits, and what is read of them (`storage.textindex`)."""

import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from bson.binary import Binary
from bson.objectid import ObjectId

from duckmail.mime.grams import BITS
from duckmail.mime.words import Vocabulary, common
from storage.mongo.client import Document

SEGMENT = 8192  # messages
GROUP = 32  # rows in a document: 32 KiB of a whole segment
WORDS = 8192  # of a segment's vocabulary
SHARED = 8, 128  # a word is in it that so many of new messages have, or every so manieth of them
ASKED_WORDS = 24  # of a segment, the commonest, whose rows are read for one string
VOCABULARY = 0xFFFF  # in place of a group's number

Places = set[int] | None


@dataclass(frozen=True, slots=True)
class Entry:
    """What is indexed of a message. `places`: of its runs; None: it is looked at always, and its words do not count."""

    places: Places
    words: Iterable[str] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A string to look for. `places`: of its runs, of one of the tuples all. `kinds`: of words that may hold it;
    or `name`: that of the header field that does."""

    needle: str
    places: tuple[tuple[int, ...], ...]
    kinds: str = ""
    name: str = ""

    def words(self, vocabulary: Vocabulary) -> list[int]:
        """Places of those that hold it."""
        found = vocabulary.fields(self.name, self.needle) if self.name else vocabulary.holding(self.kinds, self.needle)
        return found[:ASKED_WORDS]


class Rows(NamedTuple):
    """Numbers of the rows that are read for a string: of its places, as in `Wanted`, and of the words that hold it."""

    places: tuple[tuple[int, ...], ...]
    words: Sequence[int]

    @property
    def all(self) -> Iterator[int]:
        return chain(*self.places, self.words)


@dataclass(frozen=True, slots=True)
class Segment:
    """`uids`: ascending. `always`: a bit for each message that the rows say nothing of."""

    build: ObjectId
    uids: "array[int]"
    always: int
    vocabulary: Vocabulary

    @property
    def width(self) -> int:
        """Octets of a row."""
        return (len(self.uids) + 7) // 8

    @property
    def groups(self) -> int:
        return -(-(BITS + len(self.vocabulary.entries)) // GROUP)

    def rows(self, wanted: Wanted) -> Rows:
        return Rows(wanted.places, [BITS + place for place in wanted.words(self.vocabulary)])

    def document(self) -> Document:
        """As the head of the mailbox has it."""
        always = self.always.to_bytes(self.width, "little")
        return {"build": self.build, "uids": Binary(self.uids.tobytes()), "always": Binary(always)}


def group_id(build: ObjectId, group: int) -> Binary:
    return Binary(build.binary + group.to_bytes(2, "big"))


def packed(vocabulary: Vocabulary) -> Binary:
    return Binary(zlib.compress("\n".join(vocabulary.entries).encode("utf-8", "surrogatepass"), 1))


def segment_of(document: Document, words: bytes) -> Segment:
    uids = array("I")
    uids.frombytes(document["uids"])
    text = zlib.decompress(words).decode("utf-8", "surrogatepass")
    always = int.from_bytes(document["always"], "little")
    return Segment(document["build"], uids, always, Vocabulary(text.split("\n") if text else ()))


@dataclass(slots=True)
class Batch:
    """New messages of one segment, ascending by UID; those that nothing is added of are looked at always."""

    uids: Sequence[int]
    places: dict[int, Places] = field(default_factory=dict)
    words: dict[str, int] = field(default_factory=dict)  # -> a bit for each message that has it

    def add(self, entries: Mapping[int, Entry]) -> None:
        """CPU work."""
        at = {uid: place for place, uid in enumerate(self.uids)}
        for uid, entry in entries.items():
            self.places[uid] = entry.places
            if entry.places is not None:
                bit = 1 << at[uid]
                for word in entry.words:
                    self.words[word] = self.words.get(word, 0) | bit


def extended(old: Segment | None, matrix: bytes, new: Batch) -> tuple[Segment, bytearray]:
    """A segment with what is in `old`, of which `matrix` has all rows, and in `new`; and its rows. CPU work."""
    first = len(old.uids) if old else 0
    uids = array("I", [*(old.uids if old else ()), *new.uids])
    width = (len(uids) + 7) // 8
    rows = _word_rows(old, matrix, new)
    vocabulary = Vocabulary(list(rows))
    made = bytearray((BITS + len(rows)) * width)
    if old is not None:
        before = old.width
        for place in range(BITS):
            made[place * width : place * width + before] = matrix[place * before : (place + 1) * before]
    always = old.always if old else 0
    for at, uid in enumerate(new.uids, start=first):
        places = new.places.get(uid)
        if places is None:
            always |= 1 << at
            continue
        column, bit = at >> 3, 1 << (at & 7)
        for place in places:
            made[place * width + column] |= bit
    for number, row in enumerate(rows.values(), start=BITS):
        made[number * width : (number + 1) * width] = row.to_bytes(width, "little")
    return Segment(ObjectId(), uids, always, vocabulary), made


def _word_rows(old: Segment | None, matrix: bytes, new: Batch) -> dict[str, int]:
    """Of the words that many messages share, the commonest first."""
    rows: dict[str, int] = {}
    first = 0
    if old is not None:
        first, width = len(old.uids), old.width
        for number, word in enumerate(old.vocabulary.entries, start=BITS):
            rows[word] = int.from_bytes(matrix[number * width : (number + 1) * width], "little")
    few, share = SHARED
    least = max(few, len(new.uids) // share)
    for word, bits in new.words.items():
        if word in rows or bits.bit_count() >= least:
            rows[word] = rows.get(word, 0) | bits << first
    kept = common(((word, row.bit_count()) for word, row in rows.items()), 1, WORDS)
    return {word: rows[word] for word in kept}


def joined(
    segments: Sequence[Segment], wanted: Sequence[Sequence[Rows]], rows: Mapping[tuple[ObjectId, int], int]
) -> list[list[tuple[int, int]]]:
    """For each string and segment: a bit for each message that holds it for certain, and for each that may. CPU work.

    `wanted`: for each string its rows in each segment.
    """
    return [[_joined(segment, mine, rows) for segment, mine in zip(segments, string, strict=True)] for string in wanted]


def _joined(segment: Segment, wanted: Rows, rows: Mapping[tuple[ObjectId, int], int]) -> tuple[int, int]:
    yes, may = 0, segment.always
    for number in wanted.words:
        yes |= rows[segment.build, number]
    for places in wanted.places:
        either = (1 << len(segment.uids)) - 1
        for number in places:
            either &= rows[segment.build, number]
        may |= either
    return yes, may
