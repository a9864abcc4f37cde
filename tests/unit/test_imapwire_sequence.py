"""Sequence sets: grammar, resolution, linear cost."""

import time
from contextlib import suppress

import pytest

from duckmail.model.ranges import Ranges
from protocols.imap.wire.parser import ParseError, Parser
from protocols.imap.wire.sequence import STAR, SequenceSet


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        pytest.param(b"1", ((1, 1),), id="number"),
        pytest.param(b"*", ((STAR, STAR),), id="star"),
        pytest.param(b"4294967295", ((4294967295, 4294967295),), id="largest"),
        pytest.param(b"1:4294967295", ((1, 4294967295),), id="range"),
        pytest.param(b"5:2", ((5, 2),), id="either-end-first"),
        pytest.param(b"*:4", ((STAR, 4),), id="star-first"),
        pytest.param(b"1,3:5,7,*", ((1, 1), (3, 5), (7, 7), (STAR, STAR)), id="list"),
    ],
)
def test_parse(text: bytes, pairs: tuple[tuple[int, int], ...]) -> None:
    found = SequenceSet.parse(text)
    assert found == SequenceSet(pairs)
    assert bytes(found) == text


def test_saved_result() -> None:
    found = SequenceSet.parse(b"$")
    assert found.saved
    assert bytes(found) == b"$"
    assert found.resolve(9, Ranges.of(1, 2)) == Ranges.of(1, 2)
    assert found.resolve(9) == Ranges()


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"0", b"01", b"1,", b",1", b"1:", b":1", b"1:2:3", b"a", b"1 ", b"$,1", b"1,$", b"1,,2"),
        *(b"4294967296", b"1:4294967296", b"99999999999999999999", b"**", b"1*", b"-1", b"1,0"),
    ],
)
def test_no_set(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"sequence-set|32 bits"):
        SequenceSet.parse(text)
    parser = Parser([text])
    with pytest.raises(ParseError):
        (parser.sequence_set(), parser.end())


@pytest.mark.parametrize(
    ("text", "largest", "expected"),
    [
        pytest.param(b"2:4,3:9", 100, ((2, 9),), id="overlap"),
        pytest.param(b"5:2", 100, ((2, 5),), id="either-end-first"),
        pytest.param(b"*", 7, ((7, 7),), id="star"),
        pytest.param(b"559:*", 7, ((7, 559),), id="star-below-the-start-contains-the-last-message"),
        pytest.param(b"*:1", 7, ((1, 7),), id="star-first"),
        pytest.param(b"*", 0, (), id="star-of-an-empty-mailbox"),
        pytest.param(b"1:*,3", 0, ((3, 3),), id="range-to-star-of-an-empty-mailbox"),
        pytest.param(b"1:4294967295", 7, ((1, 4294967295),), id="larger-numbers-stay"),
    ],
)
def test_resolve(text: bytes, largest: int, expected: tuple[tuple[int, int], ...]) -> None:
    assert SequenceSet.parse(text).resolve(largest).pairs == expected


def test_the_parser_stops_behind_the_set() -> None:
    parser = Parser([b"1:2,5 FLAGS"])
    assert parser.sequence_set() == SequenceSet(((1, 2), (5, 5)))
    parser.sp()
    assert parser.atom() == "FLAGS"


@pytest.mark.parametrize(
    "text", [b"1," * 32_000 + b"1", b"1:4294967295," * 5_000 + b"*", b"," * 64_000, b"1:" * 32_000]
)
def test_a_full_line_is_cheap(text: bytes) -> None:
    """H5: cost grows with what was written: milliseconds; a quadratic reader takes minutes."""
    start = time.process_time()
    with suppress(ValueError):
        SequenceSet.parse(text).resolve(1_000_000)
    assert time.process_time() - start < 5
