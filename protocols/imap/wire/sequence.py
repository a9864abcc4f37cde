"""Sequence sets (RFC 3501 §9, RFC 5182) as intervals: cost grows with what the client wrote, never with the numbers."""

import re
from dataclasses import dataclass

from duckmail.model.ranges import Ranges

STAR = 0
"""Stands for `*` in `SequenceSet.pairs`."""
MAX_NUMBER = (1 << 32) - 1

# seq-number = nz-number / "*"; seq-range = seq-number ":" seq-number; sequence-set = (...) *("," ...)
_NUMBER = rb"(?:[1-9][0-9]{0,9}+|\*)"
_MEMBER = _NUMBER + rb"(?::" + _NUMBER + rb")?+"
_SET = re.compile(_MEMBER + rb"(?:," + _MEMBER + rb")*+")


@dataclass(frozen=True, slots=True)
class SequenceSet:
    """The set as written: `pairs` in the order given, either end first, `STAR` for `*`.

    `saved`: the set was `$`, the result of the last SEARCH with RETURN (SAVE) (RFC 5182); then there are no pairs.
    """

    pairs: tuple[tuple[int, int], ...] = ()
    saved: bool = False

    @classmethod
    def parse(cls, data: bytes) -> "SequenceSet":
        """From its octets, e.g. `b"1:3,7,9:*"`.

        Raises:
            ValueError: not a sequence-set, or a number beyond 32 bits.
        """
        if data == b"$":
            return cls(saved=True)
        if _SET.fullmatch(data) is None:
            raise ValueError("not a sequence-set")
        members = data.replace(b"*", b"0").split(b",")
        if b":" in data:
            pairs = tuple(_pair(member) for member in members)
            largest = max(map(max, pairs))
        else:
            # Clients send thousands of single UIDs; this way a line full of them costs a few milliseconds.
            numbers = list(map(int, members))
            pairs = tuple(zip(numbers, numbers, strict=True))
            largest = max(numbers)
        if largest > MAX_NUMBER:
            raise ValueError("number beyond 32 bits")
        return cls(pairs)

    def resolve(self, max_number: int, saved: Ranges | None = None) -> Ranges:
        """The numbers meant, of a mailbox whose largest (sequence number or UID) is `max_number`, 0 when it is empty.

        RFC 3501 §6.4.8, §9: `*` is the largest number in use, so `559:*` contains it even when it is below 559. In an
        empty mailbox `*` is nothing. `saved` is what `$` means; it is empty until a SEARCH has saved something.
        """
        if self.saved:
            return saved or Ranges()
        pairs = self.pairs
        if max_number == 0:
            pairs = tuple(pair for pair in pairs if STAR not in pair)
        return Ranges.from_pairs((first or max_number, last or max_number) for first, last in pairs)

    def __bytes__(self) -> bytes:
        """As it is written on the wire."""
        if self.saved:
            return b"$"
        return b",".join(
            _octets(first) if first == last else b"%b:%b" % (_octets(first), _octets(last))
            for first, last in self.pairs
        )


def _pair(member: bytes) -> tuple[int, int]:
    first, colon, last = member.partition(b":")
    return (int(first), int(last)) if colon else (int(first), int(first))


def _octets(number: int) -> bytes:
    return b"%d" % number if number else b"*"
