"""What of a text goes into the index for substrings beside its runs: words that many messages share.

A text that has a word holds every string that is inside of the word. So who has such a word need not be looked through
either; for the others nothing is said. Words of header and body are told apart, and header fields are words as a whole.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from duckmail.mime.grams import BODY, HEADER

FIELD, NAME = "f", "n"
"""Kinds beside those of `grams`, each the first character of a word: a field, its name alone."""
LONGEST = 40
LONGEST_FIELD = 120
_SIMPLE = re.compile(r"\w+")


def words(header: str, body: str) -> set[str]:
    """With their kinds. CPU: 0.1 us a character."""
    found = {BODY + word for word in _pieces(body)}
    found.update(HEADER + word for word in _pieces(header))
    for name, value in fields(header):
        found.add(f"{NAME}{name}")
        if len(name) + len(value) <= LONGEST_FIELD:
            found.add(f"{FIELD}{name}:{value}")
    return found


def fields(header: str) -> Iterator[tuple[str, str]]:
    """Names and values of a decoded header block, as a search compares with them."""
    for line in header.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            yield name.strip(), value.strip()


def _pieces(text: str) -> set[str]:
    """What stands between white space, and what of that is letters and digits."""
    found = {piece for piece in text.split() if len(piece) <= LONGEST}
    for piece in [piece for piece in found if not piece.isalnum()]:
        found.update(_SIMPLE.findall(piece))
    return found


class Vocabulary:
    """Words, each at its place; none has a line feed."""

    def __init__(self, entries: Sequence[str]) -> None:
        self.entries = entries
        self._text = "\n" + "\n".join(entries) + "\n"
        self._starts = list(accumulate((len(entry) + 1 for entry in entries[:-1]), initial=1)) if entries else []

    def holding(self, kinds: str, needle: str) -> list[int]:
        """Places of the words of these kinds that hold the string, which is not empty; ascending."""
        if "\n" in needle or not needle:
            return []
        return [place for place in self._at(needle) if self._holds(self.entries[place], kinds, needle)]

    def fields(self, name: str, needle: str) -> list[int]:
        """Places of the fields of this name that hold the string; the name's own place for the empty one."""
        if not needle:
            return self._exactly(NAME + name)
        start = f"{FIELD}{name}:"
        return [place for place in self._at(f"\n{start}") if needle in self.entries[place][len(start) :]]

    @staticmethod
    def _holds(entry: str, kinds: str, needle: str) -> bool:
        return entry[0] in kinds and needle in entry[1:]

    def _exactly(self, entry: str) -> list[int]:
        return list(self._at(f"\n{entry}\n"))

    def _at(self, found: str) -> Iterator[int]:
        """Each place where the text has it; a line feed at its beginning belongs to the word behind."""
        shift = 1 if found.startswith("\n") else 0
        at = self._text.find(found)
        while at >= 0:
            place = bisect_right(self._starts, at + shift) - 1
            yield place
            at = self._text.find(found, self._starts[place] + len(self.entries[place]))


def common(counts: Iterable[tuple[str, int]], least: int, most: int) -> list[str]:
    """The words that `least` messages have, the commonest first, at most `most`."""
    picked = [(count, word) for word, count in counts if count >= least]
    return [word for _, word in sorted(picked, key=lambda one: (-one[0], one[1]))[:most]]
