"""partial-range (RFC 9394 §4): a page of an ordered result, counted from its first or from its last member."""

import re
from dataclasses import dataclass

from protocols.imap.wire.parser import MAX_32, ParseError, Parser

# partial-range-first = nz-number ":" nz-number; partial-range-last = "-" nz-number ":" "-" nz-number
_RANGE = re.compile(rb"(-?)([1-9][0-9]{0,9}+):\1([1-9][0-9]{0,9}+)")


@dataclass(frozen=True, slots=True)
class Page:
    """`first` <= `last`, at least 1, both included. `backwards`: 1 is the last member."""

    first: int
    last: int
    backwards: bool = False

    @property
    def size(self) -> int:
        """How many members it may have."""
        return self.last - self.first + 1

    def places(self, count: int) -> range:
        """The places of the page in a result of so many, ascending."""
        if self.backwards:
            return range(max(0, count - self.last), max(0, count - self.first + 1))
        return range(min(self.first - 1, count), min(self.last, count))

    def __bytes__(self) -> bytes:
        sign = b"-" if self.backwards else b""
        return b"%b%d:%b%d" % (sign, self.first, sign, self.last)


def page(p: Parser) -> Page:
    found = p.match(_RANGE)
    if found is None:
        raise ParseError("Expected a range")
    first, last = sorted((int(found[2]), int(found[3])))
    if last > MAX_32:
        raise ParseError("Number too large")
    return Page(first, last, bool(found[1]))
