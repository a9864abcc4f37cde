"""The receive buffer: lines with a limit, skipping, linear cost."""

import time

import pytest

from protocols.wire.buffer import TAIL, LineTooLong, ReceiveBuffer


def filled(data: bytes) -> ReceiveBuffer:
    buffer = ReceiveBuffer()
    buffer.feed(data)
    return buffer


@pytest.mark.parametrize(
    ("data", "line", "left"),
    [
        pytest.param(b"a\r\nb", b"a\r\n", b"b", id="crlf"),
        pytest.param(b"a\nb", b"a\n", b"b", id="bare-lf-is-seen-by-the-caller"),
        pytest.param(b"a\rb", None, b"a\rb", id="bare-cr-is-no-end"),
        pytest.param(b"", None, b"", id="empty"),
        pytest.param(b"123456\r\n", b"123456\r\n", b"", id="as-long-as-the-limit"),
    ],
)
def test_next_line(data: bytes, line: bytes | None, left: bytes) -> None:
    buffer = filled(data)
    assert buffer.next_line(8) == line
    assert buffer.take(100) == left


@pytest.mark.parametrize("data", [b"1234567\r\n", b"12345678", b"123456789012"])
def test_a_line_over_the_limit_raises_and_consumes_nothing(data: bytes) -> None:
    buffer = filled(data)
    with pytest.raises(LineTooLong):
        buffer.next_line(8)
    assert buffer.take(100) == data


def test_a_line_is_found_when_its_end_comes_later() -> None:
    buffer = filled(b"abc")
    assert buffer.next_line(8) is None
    buffer.feed(b"\r")
    assert buffer.next_line(8) is None
    buffer.feed(b"\nd")
    assert buffer.next_line(8) == b"abc\r\n"
    assert len(buffer) == 1


def test_a_line_after_a_taken_one_is_searched_from_its_beginning() -> None:
    buffer = filled(b"abcdef")
    assert buffer.next_line(20) is None
    assert buffer.take(1) == b"a"
    buffer.feed(b"\n")
    assert buffer.next_line(20) == b"bcdef\n"


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_skip_line_keeps_the_tail_and_ends_at_crlf_only(step: int) -> None:
    stream = b"x" * 100 + b"\n\ry" + b"0123456789" * 4 + b"\r\nnext"
    buffer = ReceiveBuffer()
    tails = []
    for start in range(0, len(stream), step):
        buffer.feed(stream[start : start + step])
        if not tails:
            tail = buffer.skip_line()
            tails += [] if tail is None else [tail]
    assert tails == [(b"0123456789" * 4)[-TAIL:]]
    assert buffer.take(100) == b"next"


def test_skip_line_holds_little() -> None:
    buffer = ReceiveBuffer()
    for _ in range(10):
        buffer.feed(b"x" * 100_000)
        assert buffer.skip_line() is None
        assert len(buffer) == TAIL + 1


def test_peek_take_drop_clear() -> None:
    buffer = filled(b"abcdef")
    assert buffer.peek(2) == b"ab"
    assert buffer.take(2) == b"ab"
    assert buffer.drop(1) == 1
    assert buffer.drop(100) == 3
    assert len(buffer) == 0
    buffer.feed(b"abc")
    buffer.clear()
    assert buffer.take(10) == b""


def test_one_octet_at_a_time_is_linear() -> None:
    def once(size: int) -> float:
        buffer = ReceiveBuffer()
        start = time.process_time()
        for _ in range(size):
            buffer.feed(b"x")
            assert buffer.next_line(1 << 20) is None
        return time.process_time() - start

    def cost(size: int) -> float:
        return min(once(size) for _ in range(3))  # a busy machine only ever adds

    assert cost(256_000) < 40 * max(cost(16_000), 0.002)  # 16 when linear, over 100 when each octet searches all
