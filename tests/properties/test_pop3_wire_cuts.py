"""Any cut gives the same; what was sent comes back, to strict clients and to lenient ones."""

import re
from contextlib import suppress
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from duckmail.services.maildrop import cut as cut_lines
from protocols.pop3.wire.command import BadCommand, parse, parse_number, parse_top
from protocols.pop3.wire.lines import Lines
from protocols.pop3.wire.response import Stuffing, status

FAST = settings(max_examples=100, deadline=None)
NASTY = st.lists(
    st.sampled_from([b"\r\n", b".", b"\r", b"\n", b"\r\n.\r\n", b"\n.\n", b"ab", b"STAT\r\n", b"\x00", b"\xff" * 30]),
    max_size=40,
).map(b"".join)


@st.composite
def cut(draw: st.DrawFn, octets: st.SearchStrategy[bytes] = NASTY) -> tuple[bytes, list[bytes]]:
    """Some octets and a way to cut them."""
    whole = draw(octets)
    places = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    edges = [0, *places, len(whole)]
    return whole, [whole[start:end] for start, end in pairwise(edges)]


def one_by_one(octets: bytes) -> list[bytes]:
    return [octets[at : at + 1] for at in range(len(octets))]


def read_lines(pieces: list[bytes]) -> list[bytes | str]:
    lines, found = Lines(), []
    for piece in pieces:
        lines.feed(piece)
        while True:
            try:
                line = lines.next(16)
            except BadCommand as error:
                found.append(str(error))
                continue
            if line is None:
                break
            found.append(line)
    return found


@FAST
@given(cut())
def test_lines_do_not_depend_on_the_cut(case: tuple[bytes, list[bytes]]) -> None:
    whole, pieces = case
    assert read_lines(pieces) == read_lines([whole]) == read_lines(one_by_one(whole))


@FAST
@given(NASTY)
def test_lines_agree_with_the_rule(octets: bytes) -> None:
    """The framer written a second time: a line is what ends with CRLF, and holds neither, and is short enough."""
    *parts, _ = octets.split(b"\r\n")
    proper = [part for part in parts if len(part) <= 14 and not set(part) & set(b"\r\n")]
    assert [line for line in read_lines([octets]) if isinstance(line, bytes)] == proper
    assert len(read_lines([octets])) == len(parts)


def response(pieces: list[bytes]) -> bytes:
    stuffing = Stuffing()
    return b"".join(stuffing.feed(piece) for piece in pieces) + stuffing.end()


@FAST
@given(cut())
def test_a_response_does_not_depend_on_the_cut(case: tuple[bytes, list[bytes]]) -> None:
    whole, pieces = case
    assert response(pieces) == response([whole]) == response(one_by_one(whole))


def client(octets: bytes, line_end: bytes) -> tuple[bytes, bytes]:
    """A client whose lines end so: the message, and what stands behind the response."""
    message = b""
    while True:
        line, end, octets = octets.partition(line_end)
        assert end, "the response has no end"
        if line.removesuffix(b"\r") == b".":
            return message, octets
        message += line.removeprefix(b".") + end


@FAST
@given(NASTY)
def test_no_client_takes_a_message_for_our_next_response(message: bytes) -> None:
    sent = response([message]) + b"+OK next"
    whole = message if message.endswith(b"\r\n") or not message else message + b"\r\n"
    # Clients that go by LF get exactly the message, but for the CRLF that it may lack.
    assert client(sent, b"\n") == (whole, b"+OK next")
    strict, rest = client(sent, b"\r\n")
    assert rest == b"+OK next"
    # Strict ones too, but for a second dot behind a bare LF.
    assert re.sub(rb"\n\.+", b"\n.", strict) == re.sub(rb"\n\.+", b"\n.", whole)


@FAST
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_only_documented_errors(line: bytes) -> None:
    with suppress(BadCommand):
        given = parse(line)
        assert given.keyword == given.keyword.upper()
        assert given.keyword.isascii()
        for parser in (parse_number, parse_top):
            with suppress(BadCommand):
                parser(given.argument)


@FAST
@given(st.booleans(), st.text(max_size=700))
def test_no_text_adds_a_line(positive: bool, text: str) -> None:
    written = status(positive, text, "SYS/TEMP")
    assert written.count(b"\n") == written.count(b"\r") == 1
    assert written.endswith(b"\r\n")
    assert len(written) <= 512


@FAST
@given(NASTY, st.integers(1, 30))
def test_lines_of_top(octets: bytes, lines: int) -> None:
    end, left = cut_lines(octets, lines)
    wanted = octets.split(b"\n", lines)
    assert left == max(0, lines - octets.count(b"\n"))
    assert octets[:end] == (octets if left else b"\n".join(wanted[:lines]) + b"\n")
