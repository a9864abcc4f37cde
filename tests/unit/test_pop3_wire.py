"""POP3 lines, commands and responses, rule by rule."""

import pytest

from protocols.pop3.wire.command import BadCommand, Command, parse, parse_number, parse_top
from protocols.pop3.wire.lines import MAX_LINE, Lines
from protocols.pop3.wire.response import MAX_STATUS, Stuffing, status


def read(octets: bytes, limit: int = MAX_LINE) -> list[bytes | str]:
    """Lines, and the texts of mistakes."""
    lines, found = Lines(), []
    lines.feed(octets)
    while True:
        try:
            line = lines.next(limit)
        except BadCommand as error:
            found.append(str(error))
            continue
        if line is None:
            return found
        found.append(line)


@pytest.mark.parametrize(
    ("octets", "found"),
    [
        pytest.param(b"NOOP\r\nSTAT\r\nLI", [b"NOOP", b"STAT"], id="crlf-ends-a-line"),
        pytest.param(b"\r\n", [b""], id="an-empty-line-is-one"),
        pytest.param(b"NOOP\nSTAT\r\nLIST\r\n", ["Lines end with CRLF", b"LIST"], id="bare-lf-does-not-end-a-line"),
        pytest.param(b"NO\rOP\r\nLIST\r\n", ["Lines end with CRLF", b"LIST"], id="bare-cr-is-refused"),
        pytest.param(b"NOOP\r\r\nLIST\r\n", ["Lines end with CRLF", b"LIST"], id="cr-before-crlf"),
        pytest.param(b"\n\r\nLIST\r\n", ["Lines end with CRLF", b"LIST"], id="lf-before-crlf"),
        pytest.param(b"x" * 253 + b"\r\n", [b"x" * 253], id="255-octets-rfc-2449-4"),
        pytest.param(b"x" * 254 + b"\r\nLIST\r\n", ["Line too long", b"LIST"], id="256-octets"),
        pytest.param(b"x" * 100_000 + b"\nSTAT\r\nLIST\r\n", ["Line too long", b"LIST"], id="skipped-to-its-crlf"),
    ],
)
def test_lines(octets: bytes, found: list[bytes | str]) -> None:
    assert read(octets) == found
    assert read(octets + b"NOOP\r\n")[: len(found)] == found


def test_a_discarded_line_leaves_nothing() -> None:
    lines = Lines()
    lines.feed(b"STLS\r\nUSER evil\r\nPASS ev")
    assert lines.next() == b"STLS"
    lines.discard()
    lines.feed(b"NOOP\r\n")
    assert lines.next() == b"NOOP"
    lines.feed(b"x" * 300)
    assert lines.next() is None
    lines.discard()
    lines.feed(b"NOOP\r\n")
    assert lines.next() == b"NOOP", "also in the middle of a line that is being skipped"


@pytest.mark.parametrize(
    ("line", "command"),
    [
        pytest.param(b"STAT", Command("STAT", ""), id="alone"),
        pytest.param(b"stat", Command("STAT", ""), id="any-case"),
        pytest.param(b"LIST 1", Command("LIST", "1"), id="argument"),
        pytest.param(b"PASS  two words ", Command("PASS", " two words "), id="the-argument-as-it-came"),
        pytest.param("PASS pä$$".encode(), Command("PASS", "pä$$"), id="utf-8"),
    ],
)
def test_commands(line: bytes, command: Command) -> None:
    assert parse(line) == command


def test_an_argument_never_shows() -> None:
    assert "secret" not in repr(parse(b"PASS secret"))


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b" STAT", id="blank-first"),
        pytest.param(b"ST-AT", id="sign"),
        pytest.param(b"STAT\t1", id="tab"),
        pytest.param(b"PASS a\0b", id="nul"),
        pytest.param(b"PASS \xff", id="no-utf-8"),
        pytest.param("\uff33\uff34\uff21\uff34".encode(), id="wide-letters"),
        pytest.param(b"A" * 17, id="long-keyword"),
    ],
)
def test_no_commands(line: bytes) -> None:
    with pytest.raises(BadCommand):
        parse(line)


NO_NUMBERS = ["", "x", "-1", "+1", "1.0", "1 2", " 1", "\u0663", "\u00b2", "12345678901", "1_0"]


@pytest.mark.parametrize("argument", NO_NUMBERS, ids=ascii)
def test_no_numbers(argument: str) -> None:
    with pytest.raises(BadCommand):
        parse_number(argument)


@pytest.mark.parametrize("argument", ["", "1", "1 x", "1 2 3", "1,2", "1 -1"], ids=ascii)
def test_no_top(argument: str) -> None:
    with pytest.raises(BadCommand):
        parse_top(argument)


def test_numbers() -> None:
    assert parse_number("0012") == 12
    assert parse_top("3 0") == (3, 0)
    assert parse_top("3   9999999999") == (3, 9_999_999_999)


def test_status_lines() -> None:
    assert status(True, "") == b"+OK\r\n"
    assert status(True, "1 100") == b"+OK 1 100\r\n"
    assert status(False, "No", "AUTH") == b"-ERR [AUTH] No\r\n"
    assert status(False, "a\r\n+OK b\tc\u20ac") == b"-ERR a??+OK b?c?\r\n", "no text adds a line"
    assert len(status(False, "x" * 2000)) == MAX_STATUS


@pytest.mark.parametrize(
    ("message", "response"),
    [
        pytest.param(b"a\r\nb\r\n", b"a\r\nb\r\n.\r\n", id="as-it-is"),
        pytest.param(b".\r\n", b"..\r\n.\r\n", id="a-dot-that-begins-the-message"),
        pytest.param(b"a\r\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n.\r\n", id="a-dot-alone"),
        pytest.param(b"a\r\n..b.\r\n", b"a\r\n...b.\r\n.\r\n", id="dots-in-a-line-stay"),
        pytest.param(b"", b".\r\n", id="empty"),
        pytest.param(b"a", b"a\r\n.\r\n", id="no-line-end"),
        pytest.param(b"a\r", b"a\r\r\n.\r\n", id="ends-with-cr"),
        pytest.param(b"a\n", b"a\n\r\n.\r\n", id="ends-with-lf"),
        pytest.param(b"a\n.\r\n-ERR\r\n", b"a\n..\r\n-ERR\r\n.\r\n", id="a-dot-behind-lf-ends-nothing"),
        pytest.param(b"a\n.\n.\nb\r\n", b"a\n..\n..\nb\r\n.\r\n", id="lf-lines"),
        pytest.param(b"a\r.\rb\r\n", b"a\r.\rb\r\n.\r\n", id="cr-begins-no-line"),
    ],
)
def test_multi_line_responses(message: bytes, response: bytes) -> None:
    stuffing = Stuffing()
    assert stuffing.feed(message) + stuffing.end() == response
    one_by_one = Stuffing()
    said = b"".join(one_by_one.feed(message[at : at + 1]) for at in range(len(message))) + one_by_one.end()
    assert said == response
