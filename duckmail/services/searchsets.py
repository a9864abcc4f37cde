"""Searching by sets: which messages match, as bits, as far as that can be said without a look at each of them.

Three-valued: a `Span` has the messages that match for certain and those that may. And, Or and Not pass that on as logic
has it, on all messages at once: a hundred thousand of them are 12 KB of bits, and joining two such sets takes
microseconds.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from sys import byteorder

from duckmail.model import search
from duckmail.model.flags import keyword_bit, system_bit
from duckmail.model.ranges import Ranges
from duckmail.services.searchkeys import merged
from storage.views import View

ONE, ZERO = b"1"[0], b"0"[0]
_VALUES = bytes.maketrans(b"01", b"\x00\x01")


@dataclass(frozen=True, slots=True)
class Span:
    """Of messages by their place, a bit for each: `yes` match, and of `may` it is not known of those not in `yes`."""

    yes: int
    may: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """UIDs (ascending), flags and modseqs of the messages that are searched, of one moment: the view moves on."""

    uids: "array[int]"
    flags: "array[int]"
    modseqs: "array[int]"
    keywords: Sequence[str]
    recent_from: int

    @classmethod
    def of(cls, view: View, recent_from: int, among: Sequence[int] | None) -> "Snapshot":
        uids, flags, modseqs = view.uids[:], view.flags[:], view.modseqs[:]
        if among is not None:
            places = [place for uid in among if (place := view.position(uid)) >= 0]
            uids, flags, modseqs = (
                array(one.typecode, [one[place] for place in places]) for one in (uids, flags, modseqs)
            )
        return cls(uids, flags, modseqs, tuple(view.mailbox.keywords), recent_from)

    @property
    def all(self) -> int:
        return (1 << len(self.uids)) - 1

    def places(self, bits: int) -> list[int]:
        """Of the bits that are set, ascending."""
        return list(compress(range(len(self.uids)), digits(bits, len(self.uids)).translate(_VALUES)))

    def uids_of(self, bits: int) -> list[int]:
        return list(compress(self.uids, digits(bits, len(self.uids)).translate(_VALUES)))


def bits_of(marks: bytes) -> int:
    """Of a digit, 0 or 1, for each message. Linear: the base is a power of two."""
    return int(marks[::-1], 2) if marks else 0


def digits(bits: int, count: int) -> bytes:
    """The other way round."""
    return f"{bits:0{count}b}"[::-1].encode() if count else b""


def evaluate(node: search.Node, snapshot: Snapshot, known: Mapping[search.Node, Span]) -> Span:
    """`known`: of keys about what is not in the snapshot; those that are not there may be true of any. CPU work."""
    everything = snapshot.all
    match node:
        case search.And(children):
            yes = may = everything
            for child in merged(children, every=True):
                one = evaluate(child, snapshot, known)
                yes &= one.yes
                may &= one.may
                if not may:
                    break
            return Span(yes, may)
        case search.Or(children):
            yes = may = 0
            for child in merged(children, every=False):
                one = evaluate(child, snapshot, known)
                yes |= one.yes
                may |= one.may
                if yes == everything:
                    break
            return Span(yes, may)
        case search.Not(child):
            inner = evaluate(child, snapshot, known)
            return Span(everything ^ inner.may, everything ^ inner.yes)
        case search.All() | search.Flag() | search.Recent() | search.Uids() | search.ModSeq():
            bits = _of_view(node, snapshot)
            return Span(bits, bits)
        case _:
            return known.get(node) or Span(0, everything)


def _of_view(node: search.All | search.Flag | search.Recent | search.Uids | search.ModSeq, snapshot: Snapshot) -> int:
    match node:
        case search.All():
            return snapshot.all
        case search.Flag(name):
            return _flagged(snapshot.flags, system_bit(name) or keyword_bit(name, snapshot.keywords))
        case search.Recent():
            first = snapshot.recent_from
            before = bisect_left(snapshot.uids, first) if first else len(snapshot.uids)
            return snapshot.all >> before << before
        case search.Uids(uids):
            return _in_ranges(snapshot.uids, uids)
        case search.ModSeq(least):
            return bits_of(bytes([ONE if modseq >= least else ZERO for modseq in snapshot.modseqs]))


def _flagged(flags: "array[int]", bit: int) -> int:
    """By the octet that the bit is in: without a step in Python for each message."""
    if not bit:
        return 0
    octet, within = divmod(bit.bit_length() - 1, 8)
    if byteorder == "big":
        octet = flags.itemsize - 1 - octet
    table = bytes(ONE if value >> within & 1 else ZERO for value in range(256))
    return bits_of(flags.tobytes()[octet :: flags.itemsize].translate(table))


def _in_ranges(uids: "array[int]", ranges: Ranges) -> int:
    marks = bytearray(b"0") * len(uids)
    for first, last in ranges.pairs:
        start, stop = bisect_left(uids, first), bisect_right(uids, last)
        marks[start:stop] = b"1" * (stop - start)
    return bits_of(bytes(marks))


class Blocks:
    """Where the messages of blocks of UIDs stand in a snapshot.

    `blocks`: ascending, each ascending; they may hold messages that are not there any more. What is said of a block's
    messages becomes what is said of the snapshot's; of those that are in none it is not known.
    """

    def __init__(self, uids: "array[int]", blocks: Sequence["array[int]"]) -> None:
        self._count = len(uids)
        self._slots: list[tuple[int, int, list[int] | None]] = []
        start = 0
        for block in blocks:
            stop = bisect_right(uids, block[-1], start)
            here = uids[start:stop]
            self._slots.append((start, len(block), None if here == block else _found(here, block)))
            start = stop
        self._rest = (1 << self._count) - (1 << start)

    def span(self, answers: Callable[[int], Span]) -> Span:
        """`answers`: of the block with this number."""
        yes, may = 0, self._rest
        for number, (start, count, places) in enumerate(self._slots):
            if places == []:
                continue
            one = answers(number)
            if places is None:
                yes |= one.yes << start
                may |= one.may << start
            else:
                yes |= _picked(one.yes, count, places, b"0") << start
                may |= _picked(one.may, count, places, b"1") << start
        return Span(yes, may)


def _found(here: "array[int]", block: "array[int]") -> list[int]:
    """For each of `here` its place in the block; behind its end where it is not."""
    place = {uid: at for at, uid in enumerate(block)}
    return [place.get(uid, len(block)) for uid in here]


def _picked(bits: int, count: int, places: Sequence[int], absent: bytes) -> int:
    marks = digits(bits, count) + absent
    return bits_of(bytes([marks[place] for place in places]))
