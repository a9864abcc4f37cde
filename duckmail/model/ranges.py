"""Sets of UIDs or sequence numbers as sorted, disjoint, non-adjacent ranges.

Cost grows with the number of ranges, never with the numbers inside them: a client may send `1:4294967295`.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ranges:
    """Inclusive (first, last) pairs, ascending, disjoint, not adjacent. Built by `of` and the `from_` methods."""

    pairs: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, *numbers: int) -> "Ranges":
        return cls.from_sorted(sorted(set(numbers)))

    @classmethod
    def from_pairs(cls, pairs: Iterable[tuple[int, int]]) -> "Ranges":
        """From pairs in any order, either end first, overlapping or not."""
        merged: list[tuple[int, int]] = []
        for first, last in sorted((min(pair), max(pair)) for pair in pairs):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], last))
            else:
                merged.append((first, last))
        return cls(tuple(merged))

    @classmethod
    def from_sorted(cls, numbers: Iterable[int]) -> "Ranges":
        """From strictly ascending numbers."""
        pairs: list[tuple[int, int]] = []
        start = previous = -1
        for number in numbers:
            if number != previous + 1 or previous < 0:
                if previous >= 0:
                    pairs.append((start, previous))
                start = number
            previous = number
        if previous >= 0:
            pairs.append((start, previous))
        return cls(tuple(pairs))

    def __bool__(self) -> bool:
        return bool(self.pairs)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.pairs)

    def __iter__(self) -> Iterator[int]:
        for first, last in self.pairs:
            yield from range(first, last + 1)

    def __contains__(self, number: object) -> bool:
        if not isinstance(number, int):
            return False
        index = bisect_right(self.pairs, (number, 1 << 63)) - 1
        return index >= 0 and self.pairs[index][0] <= number <= self.pairs[index][1]

    def pick(self, ascending: Sequence[int]) -> list[int]:
        """The members of `ascending` (sorted, e.g. a view's UIDs) that are in this set, in order."""
        found: list[int] = []
        low = 0
        for first, last in self.pairs:
            low = bisect_left(ascending, first, low)
            high = bisect_right(ascending, last, low)
            found.extend(ascending[low:high])
            low = high
        return found

    def intersection(self, other: "Ranges") -> "Ranges":
        """The numbers in both; linear in the ranges."""
        found: list[tuple[int, int]] = []
        mine, theirs = 0, 0
        while mine < len(self.pairs) and theirs < len(other.pairs):
            first = max(self.pairs[mine][0], other.pairs[theirs][0])
            last = min(self.pairs[mine][1], other.pairs[theirs][1])
            if first <= last:
                found.append((first, last))
            if self.pairs[mine][1] < other.pairs[theirs][1]:
                mine += 1
            else:
                theirs += 1
        return Ranges(tuple(found))

    def without(self, ascending: Iterable[int]) -> "Ranges":
        """The numbers that are not in `ascending` (strictly, e.g. a view's UIDs); linear in both."""
        gaps: list[tuple[int, int]] = []
        start = 0
        for number in ascending:
            if number > start:
                gaps.append((start, number - 1))
            start = number + 1
        if self.pairs and self.pairs[-1][1] >= start:
            gaps.append((start, self.pairs[-1][1]))
        return self.intersection(Ranges(tuple(gaps)))

    def __str__(self) -> str:
        """As an IMAP sequence-set: `1:3,7`."""
        return ",".join(str(first) if first == last else f"{first}:{last}" for first, last in self.pairs)
