"""Command lines and message octets out of any stream of octets."""

import re
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.smtp.wire.body import ChunkReader, Collector, DataReader, Fault
from protocols.smtp.wire.receive import Receiver
from protocols.smtp.wire.reply import CommandError

MANY = 1 << 40


def lines(receiver: Receiver) -> list[bytes | int]:
    """All complete lines; the reply code for a refused one."""
    found: list[bytes | int] = []
    while True:
        try:
            line = receiver.line()
        except CommandError as error:
            found.append(error.reply.code)
            continue
        if line is None:
            return found
        found.append(line)


def read_lines(pieces: list[bytes], limit: int) -> list[bytes | int]:
    receiver = Receiver(limit)
    found = []
    for piece in pieces:
        receiver.feed(piece)
        found += lines(receiver)
    return found


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        pytest.param(b"NOOP\r\nQUIT\r\n", [b"NOOP", b"QUIT"], id="two-lines"),
        pytest.param(b"NOOP\n", [], id="bare-lf-does-not-end-a-line"),
        pytest.param(b"NOOP\nQUIT\r\n", [500], id="bare-lf-inside-is-refused"),
        pytest.param(b"NOOP\rQUIT\r\nNOOP\r\n", [500, b"NOOP"], id="bare-cr-inside-is-refused"),
        pytest.param(b"NOOP\r\r\nNOOP\r\n", [500, b"NOOP"], id="cr-cr-lf-is-refused"),
        pytest.param(b"\r\n", [b""], id="empty"),
        pytest.param(b"12345678\r\n", [b"12345678"], id="longest"),
        pytest.param(b"123456789\r\nNOOP\r\n", [500, b"NOOP"], id="too-long"),
        pytest.param(b"x" * 1000 + b"\r\nNOOP\r\n", [500, b"NOOP"], id="far-too-long-gives-one-reply"),
        pytest.param(b"12345678\r\r\nNOOP\r\n", [500, b"NOOP"], id="too-long-by-a-cr"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 1 << 20])
def test_lines(octets: bytes, expected: list[bytes | int], size: int) -> None:
    pieces = [octets[start : start + size] for start in range(0, len(octets), size)]
    assert read_lines(pieces, 10) == expected


def test_an_endless_line_is_not_kept() -> None:
    receiver = Receiver(100)
    for _ in range(50):
        receiver.feed(b"y" * 1000)
        assert receiver.line() is None
        assert len(receiver._buffer) - receiver._position <= 100


def test_discard_forgets_everything() -> None:
    receiver = Receiver()
    receiver.feed(b"NOOP\r\nRCPT")
    receiver.discard()
    receiver.feed(b"QUIT\r\n")
    assert lines(receiver) == [b"QUIT"]


def read_data(
    pieces: list[bytes], limit: int = MANY, refuse_bare: bool = True
) -> tuple[bool, Fault | None, bytes, bytes]:
    """done, fault, message octets, and what follows the message."""
    collector, receiver = Collector(limit, refuse_bare), Receiver()
    reader = DataReader(collector)
    rest = b""
    for piece in pieces:
        if reader.done:
            rest += piece
            continue
        receiver.feed(piece)
        receiver.read_into(reader)
        if reader.done:
            rest += receiver._buffer[receiver._position :]
    return reader.done, collector.fault, bytes(collector.take()), rest


BARE = Fault.BARE_LINE_END


@pytest.mark.parametrize(
    ("octets", "fault", "message", "rest"),
    [
        pytest.param(b"a\r\n.\r\nNOOP\r\n", None, b"a\r\n", b"NOOP\r\n", id="end"),
        pytest.param(b".\r\nNOOP\r\n", None, b"", b"NOOP\r\n", id="empty-message"),
        pytest.param(b"\r\n.\r\n", None, b"\r\n", b"", id="one-empty-line"),
        pytest.param(b"..\r\n.\r\n", None, b".\r\n", b"", id="stuffed-dot-at-the-start"),
        pytest.param(b"a\r\n..b\r\n...\r\n.\r\n", None, b"a\r\n.b\r\n..\r\n", b"", id="stuffed-dots"),
        pytest.param(b"a\r\n.b\r\n.\r\n", None, b"a\r\nb\r\n", b"", id="unstuffed-dot-is-removed-too"),
        pytest.param(b"a.b\r\n.\r\n", None, b"a.b\r\n", b"", id="dot-inside-a-line-stays"),
        pytest.param(b"\x00\xff\r\n.\r\n", None, b"\x00\xff\r\n", b"", id="nul-and-8-bit-are-kept"),
        pytest.param(b"a\n.\nX\r\n.\r\n", BARE, b"", b"", id="lf-dot-lf-does-not-end"),
        pytest.param(b"a\r\n.\nX\r\n.\r\n", BARE, b"", b"", id="crlf-dot-lf-does-not-end"),
        pytest.param(b"a\n.\r\nX\r\n.\r\n", BARE, b"", b"", id="lf-dot-crlf-does-not-end"),
        pytest.param(b"a\r.\rX\r\n.\r\n", BARE, b"", b"", id="cr-dot-cr-does-not-end"),
        pytest.param(b"a\r\n.\rX\r\n.\r\n", BARE, b"", b"", id="crlf-dot-cr-does-not-end"),
        pytest.param(b"a\r.\r\nX\r\n.\r\n", BARE, b"", b"", id="cr-dot-crlf-does-not-end"),
        pytest.param(b"a\r\r\n.\r\r\nX\r\n.\r\n", BARE, b"", b"", id="cr-crlf-dot-cr-crlf-does-not-end"),
        pytest.param(b"a\n\r\n.\r\nNOOP\r\n", BARE, b"", b"NOOP\r\n", id="lf-crlf-dot-crlf-ends-and-is-refused"),
        pytest.param(b"a\n\r.\n\r\r\n.\r\n", BARE, b"", b"", id="lf-cr-dot-does-not-end"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 1 << 20])
def test_data(octets: bytes, fault: Fault | None, message: bytes, rest: bytes, size: int) -> None:
    pieces = [octets[start : start + size] for start in range(0, len(octets), size)]
    assert read_data(pieces) == (True, fault, message, rest)


def test_bare_line_ends_are_kept_where_allowed() -> None:
    octets = b"a\n.\nb\r\n..\rc\r\n.\r\n"
    assert read_data([octets], refuse_bare=False) == (True, None, b"a\n.\nb\r\n.\rc\r\n", b"")


def test_too_large_is_read_to_its_end_and_not_kept() -> None:
    collector = Collector(1000)
    reader = DataReader(collector)
    for _ in range(100):
        reader.feed(b"x" * 998 + b"\r\n")
        assert collector.held <= 1000
    assert not reader.done
    assert reader.feed(b".\r\nRSET\r\n") == 3
    assert (reader.done, collector.fault, collector.held) == (True, Fault.TOO_LARGE, 0)


@pytest.mark.parametrize(
    ("size", "fault"), [pytest.param(10, None, id="exactly"), pytest.param(9, Fault.TOO_LARGE, id="one-over")]
)
def test_the_limit_counts_octets_without_the_doubled_dots(size: int, fault: Fault | None) -> None:
    # RFC 1870 §3: the size is that of the message, not of its form on the wire.
    assert read_data([b"..\r\n..\r\nab\r\n.\r\n"], limit=size)[1] == fault


def test_chunks() -> None:
    collector = Collector(MANY, refuse_bare=False)
    receiver = Receiver()
    receiver.feed(b"ab\n.\r\n.\r")
    assert receiver.read_into(ChunkReader(collector, 0))
    assert receiver.read_into(ChunkReader(collector, 3))
    last = ChunkReader(collector, 8)
    assert not receiver.read_into(last)
    receiver.feed(b"\n\x00!NOOP\r\n")
    assert receiver.read_into(last)
    assert receiver.line() == b"NOOP"
    assert bytes(collector.take()) == b"ab\n.\r\n.\r\n\x00!"


def test_a_pair_cut_between_two_chunks_is_not_bare() -> None:
    collector = Collector(MANY)
    for piece in (b"a\r", b"", b"\nb\r", b"\n"):
        ChunkReader(collector, len(piece)).feed(piece)
        assert not collector.hopeless
    assert collector.fault is None


def test_a_cr_at_the_very_end_is_bare() -> None:
    collector = Collector(MANY)
    ChunkReader(collector, 2).feed(b"a\r")
    assert collector.fault is Fault.BARE_LINE_END


def test_whatever_octets_are_bare_wherever_they_are_cut() -> None:
    for octets in (bytes(each) for length in range(6) for each in product(b"\r\nx", repeat=length)):
        bare = re.search(rb"\r(?!\n)|(?<!\r)\n", octets) is not None
        for cut in range(len(octets) + 1):
            collector = Collector(MANY)
            for piece in (octets[:cut], octets[cut:]):
                collector.add(piece)
            assert (collector.fault is Fault.BARE_LINE_END) is bare, (octets, cut)


def test_refused_from_outside() -> None:
    collector = Collector(MANY)
    collector.add(b"abc\r\n")
    collector.refuse(Fault.NO_ROOM)
    collector.add(b"def\r\n")
    assert (collector.fault, collector.held, collector.size) == (Fault.NO_ROOM, 0, 10)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([b".", b"\r\n", b"\r", b"\n", b"a", b"\r\n.\r\n"]), max_size=12).map(b"".join))
def test_an_empty_take_after_a_fault_is_never_a_message(octets: bytes) -> None:
    done, fault, message, _ = read_data([octets])
    assert not (done and fault is not None and message)
