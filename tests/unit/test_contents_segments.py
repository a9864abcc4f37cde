"""Cutting a message: the segments are the message, and what stays inline is bounded."""

import pytest
from bson import encode

from storage.blobs.framing import Framing, span
from storage.contents.segments import (
    LEAF_PART,
    MAX_INLINE,
    MAX_INLINE_RUN,
    Inline,
    Leaf,
    Plan,
    Stored,
    from_document,
    plan,
    to_document,
)
from tests.support.contents import base64_lines, octets


def rebuild(cut: Plan) -> bytes:
    parts = {part.sha256: b"".join(part.pieces()) for part in cut.parts}
    text = []
    for segment in (cut.header, *cut.segments):
        if isinstance(segment, Inline):
            text.append(segment.data)
        elif segment.framing is None:
            text.append(parts[segment.sha256])
        else:
            part = span(segment.framing, segment.length, 0, segment.size)
            text.append(part.encoder.feed(parts[segment.sha256]) + part.encoder.finish())
        assert len(text[-1]) == segment.size
    return b"".join(text)


def inline(cut: Plan) -> int:
    return sum(segment.size for segment in cut.segments if isinstance(segment, Inline))


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_base64_leaves_become_decoded_parts(kind: type[bytes] | type[bytearray]) -> None:
    data = octets(LEAF_PART)
    raw = b"H: x\r\n\r\n" + base64_lines(data) + b"\r\n\r\n" + b"tail"
    cut = plan(kind(raw), 8, [Leaf(8, len(raw) - 4, True)])
    assert rebuild(cut) == raw
    assert [type(segment) for segment in cut.segments] == [Stored, Inline]
    assert [b"".join(part.pieces()) for part in cut.parts] == [data]


def test_small_leaves_stay_inline() -> None:
    raw = bytes(8) + b"x" * (LEAF_PART - 1)
    cut = plan(raw, 8, [Leaf(8, len(raw), False)])
    assert cut.parts == []
    assert rebuild(cut) == raw


def test_base64_that_would_not_come_back_is_kept_as_it_is() -> None:
    raw = base64_lines(octets(LEAF_PART)).replace(b"\r\n", b" \r\n", 1)
    cut = plan(raw, 0, [Leaf(0, len(raw), True)])
    assert rebuild(cut) == raw
    assert [(part.length) for part in cut.parts] == [len(raw)]


def test_the_same_octets_are_one_part() -> None:
    data = octets(LEAF_PART)
    first, second = base64_lines(data), base64_lines(data, 60, b"\n")
    raw = first + b"-" + second
    leaves = [Leaf(0, len(first), True), Leaf(len(first) + 1, len(raw), True)]
    cut = plan(raw, 0, leaves)
    assert rebuild(cut) == raw
    assert len(cut.parts) == 1


def test_a_long_inline_run_spills() -> None:
    raw = octets(MAX_INLINE_RUN + 9)
    cut = plan(raw, 8, [])
    assert inline(cut) == 0
    assert rebuild(cut) == raw


def test_the_longest_runs_spill_until_the_rest_is_small() -> None:
    leaf = b"L" * LEAF_PART
    runs = [octets(200_000 + at, at) for at in range(9)]
    raw = b"".join(run + leaf for run in runs)
    leaves, position = [], 0
    for run in runs:
        position += len(run)
        leaves.append(Leaf(position, position + len(leaf), False))
        position += len(leaf)
    cut = plan(raw, 0, leaves)
    assert rebuild(cut) == raw
    assert MAX_INLINE - 210_000 < inline(cut) <= MAX_INLINE
    kept = [segment.data for segment in cut.segments if isinstance(segment, Inline)]
    assert kept == runs[:5]


@pytest.mark.parametrize("size", [0, 1, MAX_INLINE_RUN, MAX_INLINE_RUN + 1, 3_000_000])
def test_the_header_block_spills_when_it_is_long(size: int) -> None:
    raw = octets(size) + b"body"
    cut = plan(raw, size, [Leaf(size, size + 4, False)])
    assert isinstance(cut.header, Stored if size > MAX_INLINE_RUN else Inline)
    assert cut.header.size == size
    assert rebuild(cut) == raw


def test_nothing() -> None:
    cut = plan(b"", 0, [Leaf(0, 0, False)])
    assert cut.segments == cut.parts == []
    assert rebuild(cut) == b""


def test_many_parts_make_a_small_document() -> None:
    leaf = b"L" * (LEAF_PART - 4)
    raw = b"".join(b"%04d" % at + leaf + b"gap" for at in range(1000))
    size = LEAF_PART + 3
    cut = plan(raw, 0, [Leaf(at * size, at * size + LEAF_PART, False) for at in range(1000)])
    assert len(cut.parts) == 1000
    assert len(encode({"segments": [to_document(segment) for segment in cut.segments]})) < 200_000


@pytest.mark.parametrize(
    "segment",
    [
        Inline(b"x\0y"),
        Stored(bytes(32), 5, 5),
        Stored(bytes(range(32)), 100, 73, Framing(76, 2)),
        Stored(bytes(range(32)), 100, 75, Framing(0, 0)),
    ],
)
def test_documents_round_trip(segment: Inline | Stored) -> None:
    assert from_document(to_document(segment)) == segment
