"""Columns: which message of a part holds a string, and how sets are placed in a snapshot."""

from array import array
from itertools import accumulate

import pytest

from duckmail.services.searchsets import Blocks, Span, bits_of, digits
from storage.columns import Text


def text(*values: str) -> Text:
    octets = [value.encode() + b"\x00" for value in values]
    return Text(b"".join(octets), array("I", accumulate(map(len, octets[:-1]), initial=0)))


@pytest.mark.parametrize(
    ("values", "needle", "expected"),
    [
        pytest.param(("one", "two", "one two"), "one", b"101", id="first-and-last"),
        pytest.param(("aaaa", "", "a"), "a", b"101", id="many-times-in-one"),
        pytest.param(("ab", "cd"), "bc", b"00", id="not-across-messages"),
        pytest.param(("käse", "日本"), "本", b"01", id="beyond-ascii"),
        pytest.param(("", "", ""), "x", b"000", id="nowhere"),
    ],
)
def test_which_messages_hold_a_string(values: tuple[str, ...], needle: str, expected: bytes) -> None:
    assert bytes(text(*values).holding(needle.encode())) == expected


@pytest.mark.parametrize(
    ("uids", "blocks", "yes", "may"),
    [
        pytest.param([1, 2, 3, 4], [[1, 2], [3, 4]], b"1001", b"1101", id="as-they-are"),
        pytest.param([2, 3], [[1, 2], [3, 4]], b"00", b"10", id="some-are-gone"),
        pytest.param([1, 2, 3, 4, 9], [[1, 2], [3, 4]], b"10010", b"11011", id="one-has-come"),
        pytest.param([4], [[1, 2], [3, 4]], b"1", b"1", id="a-block-is-gone"),
        pytest.param([1, 2], [[1], [4]], b"10", b"11", id="one-in-no-block"),
        pytest.param([5], [], b"0", b"1", id="no-blocks"),
    ],
)
def test_blocks_are_placed_in_the_snapshot(uids: list[int], blocks: list[list[int]], yes: bytes, may: bytes) -> None:
    known = {1: (1, 1), 2: (0, 1), 3: (0, 0), 4: (1, 1)}

    def answer(number: int) -> Span:
        return Span(*(bits_of(bytes(48 + known[uid][each] for uid in blocks[number])) for each in (0, 1)))

    placed = Blocks(array("I", uids), [array("I", block) for block in blocks]).span(answer)
    assert (digits(placed.yes, len(uids)), digits(placed.may, len(uids))) == (yes, may)
