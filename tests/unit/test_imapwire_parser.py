"""The primitives of the grammar: what each takes, what it leaves, what it refuses."""

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest

from protocols.imap.wire.framer import Literal, Part, StreamedLiteral
from protocols.imap.wire.parser import END, MAX_KEYWORD, MAX_NESTING, ParseError, Parser
from protocols.imap.wire.syntax import ASTRING_CHAR, ATOM_CHAR, LIST_CHAR, TAG_CHAR

# The ABNF of RFC 3501 §9 a second time, as sets of octets.
CHAR = set(range(1, 128))
CTL = set(range(32)) | {127}
QUOTED_SPECIALS = set(b'"\\')
LIST_WILDCARDS = set(b"%*")
RESP_SPECIALS = set(b"]")
ATOM_SPECIALS = set(b"(){ ") | CTL | LIST_WILDCARDS | QUOTED_SPECIALS | RESP_SPECIALS
ATOM = CHAR - ATOM_SPECIALS
ASTRING = ATOM | RESP_SPECIALS
TEXT_CHAR = CHAR - set(b"\r\n")


def p(*parts: Part, utf8: bool = False) -> Parser:
    return Parser(parts, utf8)


def taken(read: Callable[[Parser], Any], octet: int) -> bool:
    try:
        read(p(bytes([octet])))
    except ParseError:
        return False
    return True


@pytest.mark.parametrize("octet", range(256))
def test_character_classes(octet: int) -> None:
    one = bytes([octet])
    for fragment, members in (
        (ATOM_CHAR, ATOM),
        (ASTRING_CHAR, ASTRING),
        (TAG_CHAR, ASTRING - set(b"+")),
        (LIST_CHAR, ATOM | LIST_WILDCARDS | RESP_SPECIALS),
    ):
        assert (re.fullmatch(fragment, one) is not None) == (octet in members)
    assert taken(Parser.atom, octet) == (octet in ATOM)
    assert taken(Parser.astring, octet) == (octet in ASTRING)
    assert taken(Parser.number, octet) == (octet in b"0123456789")
    assert taken(lambda x: x.flag(), octet) == (octet in ATOM)


@pytest.mark.parametrize("octet", range(256))
def test_quoted_string_characters(octet: int) -> None:
    """TEXT-CHAR but quoted-specials; octets above 127 are taken on purpose."""
    plain = p(b'"%c"' % octet)
    escaped = p(b'"\\%c"' % octet)
    if octet in (TEXT_CHAR - QUOTED_SPECIALS) | set(range(128, 256)):
        assert plain.string() == bytes([octet])
    else:
        with pytest.raises(ParseError):
            (plain.string(), plain.end())  # three DQUOTEs read as an empty string and something behind it
    if octet in QUOTED_SPECIALS:
        assert escaped.string() == bytes([octet])
    else:
        with pytest.raises(ParseError):
            escaped.string()


@pytest.mark.parametrize(
    ("parts", "value"),
    [
        pytest.param((b"INBOX",), b"INBOX", id="atom"),
        pytest.param((b"a]b",), b"a]b", id="bracket"),
        pytest.param((b'""',), b"", id="empty-quoted"),
        pytest.param((b'"a b"',), b"a b", id="quoted"),
        pytest.param((b'"a\\"b\\\\"',), b'a"b\\', id="escapes"),
        pytest.param((b'"\\\\\\""',), b'\\"', id="escapes-in-a-row"),
        pytest.param((b'"\\\\\\\\n"',), b"\\\\n", id="escaped-backslashes-do-not-escape"),
        pytest.param((b"", Literal(b"x\r\ny"), b""), b"x\r\ny", id="literal"),
        pytest.param((b"", Literal(b""), b""), b"", id="empty-literal"),
        pytest.param((b"NIL",), b"NIL", id="nil-is-an-atom-here"),
    ],
)
def test_astring(parts: tuple[Part, ...], value: bytes) -> None:
    parser = p(*parts)
    assert parser.astring() == value
    parser.end()


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param((b"",), id="nothing"),
        pytest.param((b" a",), id="space"),
        pytest.param((b'"abc',), id="open-quote"),
        pytest.param((b'"a\\b"',), id="needless-escape"),
        pytest.param((b'"a\\',), id="escape-at-the-end"),
        pytest.param((b"(a)",), id="list"),
        pytest.param((b"\xe9",), id="octet-above-127-in-an-atom"),
        pytest.param((b"", Literal(b"a\0b"), b""), id="nul-in-a-literal"),
        pytest.param((b"", Literal(b"a", binary=True), b""), id="literal8"),
        pytest.param((b"", StreamedLiteral(1), b""), id="streamed-literal"),
        pytest.param((b"{1}",), id="announcement-that-was-none"),
    ],
)
def test_no_astring(parts: tuple[Part, ...]) -> None:
    with pytest.raises(ParseError):
        p(*parts).astring()


def test_quoted_string_ends_where_it_ends() -> None:
    parser = p(b'"ab" (x)')
    assert parser.string() == b"ab"
    parser.sp()
    assert parser.list_of(parser.atom) == ["x"]
    parser.end()


def test_text_and_literals_in_turn() -> None:
    parser = p(b" ", Literal(b"u"), b" ", Literal(b"v"), b" w")
    values = []
    for _ in range(3):
        parser.sp()
        values.append(parser.astring())
    parser.end()
    assert values == [b"u", b"v", b"w"]


def test_literals_right_behind_each_other() -> None:
    parser = p(b"", Literal(b"u"), b"", Literal(b"v"), b"")
    assert (parser.string(), parser.string()) == (b"u", b"v")
    parser.end()


def test_peek() -> None:
    assert p(b"a").peek() == ord("a")
    assert p(b"").peek() == END
    assert p().peek() == END
    assert END not in b"any octets"
    assert p(b"", Literal(b"x"), b"").peek() == ord("{")


def test_an_atom_does_not_run_on_into_a_literal() -> None:
    parser = p(b"abc", Literal(b"x"), b"")
    assert parser.atom() == "abc"
    with pytest.raises(ParseError):
        parser.end()
    assert not parser.at_end()


def test_literal() -> None:
    assert p(b"", Literal(b"a\0", binary=True), b"").literal() == b"a\0"
    assert p(b"", StreamedLiteral(5), b"").literal() == StreamedLiteral(5)
    for text in (b"x", b""):
        with pytest.raises(ParseError):
            p(text).literal()


@pytest.mark.parametrize(
    ("parts", "value"),
    [
        pytest.param((b"NIL",), None, id="nil"),
        pytest.param((b"nil",), None, id="nil-in-lower-case"),
        pytest.param((b'"NIL"',), b"NIL", id="quoted-nil-is-a-string"),
        pytest.param((b"", Literal(b"x"), b""), b"x", id="literal"),
    ],
)
def test_nstring(parts: tuple[Part, ...], value: bytes | None) -> None:
    assert p(*parts).nstring() == value


@pytest.mark.parametrize("text", [b"NILS", b"x", b"", b"("])
def test_no_nstring(text: bytes) -> None:
    with pytest.raises(ParseError):
        p(text).nstring()


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        pytest.param(Parser.number, b"0", 0, id="zero"),
        pytest.param(Parser.number, b"4294967295", 4294967295, id="number-32-bits"),
        pytest.param(Parser.number, b"4294967296", None, id="number-33-bits"),
        pytest.param(Parser.number, b"007", 7, id="number-zeros-in-front"),
        pytest.param(Parser.number, b"9" * 6000, None, id="number-of-thousands-of-digits"),
        pytest.param(Parser.number, b"-1", None, id="number-minus"),
        pytest.param(Parser.number, b"", None, id="number-missing"),
        pytest.param(Parser.nz_number, b"1", 1, id="nz-one"),
        pytest.param(Parser.nz_number, b"0", None, id="nz-zero"),
        pytest.param(Parser.nz_number, b"01", None, id="nz-zero-in-front"),
        pytest.param(Parser.number64, b"9223372036854775807", (1 << 63) - 1, id="number64-63-bits"),
        pytest.param(Parser.number64, b"9223372036854775808", None, id="number64-64-bits"),
    ],
)
def test_numbers(read: Callable[[Parser], int], text: bytes, value: int | None) -> None:
    if value is None:
        with pytest.raises(ParseError):
            read(p(text))
    else:
        assert read(p(text)) == value


@pytest.mark.parametrize(
    ("text", "utf8", "value"),
    [
        pytest.param(b"inbox", False, "INBOX", id="inbox-in-any-case"),
        pytest.param(b"InBox/Sub", False, "INBOX/Sub", id="inbox-as-first-level"),
        pytest.param(b"Inboxes", False, "Inboxes", id="inboxes-is-another"),
        pytest.param(b"x/inbox", False, "x/inbox", id="inbox-below-is-another"),
        pytest.param(b"Entw&APw-rfe", False, "Entwürfe", id="modified-utf-7"),
        pytest.param(b"a &- b".replace(b" ", b"_"), False, "a_&_b", id="ampersand"),
        pytest.param(b'"R&-D"', True, "R&-D", id="ampersand-means-itself-with-utf8"),
        pytest.param('"Entwürfe"'.encode(), True, "Entwürfe", id="utf-8-when-enabled"),
        pytest.param('"Entwürfe"'.encode(), False, None, id="utf-8-when-not-enabled"),
        pytest.param(b'"\xff"', True, None, id="invalid-utf-8"),
        pytest.param(b"R&D", False, None, id="ampersand-alone"),
        pytest.param(b'""', False, "", id="empty"),
    ],
)
def test_mailbox(text: bytes, utf8: bool, value: str | None) -> None:
    if value is None:
        with pytest.raises(ParseError):
            p(text, utf8=utf8).mailbox()
    else:
        assert p(text, utf8=utf8).mailbox() == value


@pytest.mark.parametrize(
    ("parts", "value"),
    [
        pytest.param((b"%",), "%", id="percent"),
        pytest.param((b"a/*]",), "a/*]", id="star-and-bracket"),
        pytest.param((b'""',), "", id="empty"),
        pytest.param((b'"inbox/%"',), "INBOX/%", id="quoted"),
        pytest.param((b"", Literal(b"&APw-*"), b""), "ü*", id="literal"),
    ],
)
def test_list_mailbox(parts: tuple[Part, ...], value: str) -> None:
    assert p(*parts).list_mailbox() == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param(b"\\Seen", "\\Seen", id="system"),
        pytest.param(b"\\sEEN", "\\Seen", id="system-in-any-case"),
        pytest.param(b"$Forwarded", "$Forwarded", id="keyword"),
        pytest.param(b"Seen", "Seen", id="keyword-that-looks-like-a-flag"),
        pytest.param(b"\\Recent", None, id="recent-is-not-given-by-clients"),
        pytest.param(b"\\Other", None, id="unknown-system-flag"),
        pytest.param(b"\\*", None, id="star"),
        pytest.param(b"\\", None, id="backslash-alone"),
        pytest.param(b"\\\\Seen", None, id="two-backslashes"),
        pytest.param(b"k" * MAX_KEYWORD, "k" * MAX_KEYWORD, id="longest-keyword"),
        pytest.param(b"k" * (MAX_KEYWORD + 1), None, id="too-long-keyword"),
    ],
)
def test_flag(text: bytes, value: str | None) -> None:
    if value is None:
        with pytest.raises(ParseError):
            p(text).flag()
    else:
        assert p(text).flag() == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param(b"()", (), id="none"),
        pytest.param(b"(\\Seen x)", ("\\Seen", "x"), id="two"),
        pytest.param(b"(\\Seen  x)", None, id="two-spaces"),
        pytest.param(b"(\\Seen", None, id="open"),
        pytest.param(b"( \\Seen)", None, id="space-first"),
        pytest.param(b"\\Seen", None, id="bare"),
    ],
)
def test_flag_list(text: bytes, value: tuple[str, ...] | None) -> None:
    if value is None:
        with pytest.raises(ParseError):
            p(text).flag_list()
    else:
        assert p(text).flag_list() == value


@pytest.mark.parametrize("text", [b"(\\Seen x)", b"\\Seen x"])
def test_store_flags(text: bytes) -> None:
    assert p(text).store_flags() == ("\\Seen", "x")


def test_store_flags_may_be_none_only_in_a_list() -> None:
    assert p(b"()").store_flags() == ()
    with pytest.raises(ParseError):
        p(b"").store_flags()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param(b"1-Feb-1994", date(1994, 2, 1), id="one-digit"),
        pytest.param(b'"01-FEB-1994"', date(1994, 2, 1), id="quoted-any-case"),
        pytest.param(b"29-Feb-2023", None, id="no-such-day"),
        pytest.param(b"1-Feb-0000", None, id="year-zero"),
        pytest.param(b'"1-Feb-1994', None, id="open-quote"),
        pytest.param(b"1-Fe-1994", None, id="no-month"),
        pytest.param(b"001-Feb-1994", None, id="three-digits"),
        pytest.param(b"", None, id="missing"),
    ],
)
def test_date(text: bytes, value: date | None) -> None:
    parser = p(text)
    if value is None:
        with pytest.raises(ParseError):
            parser.date()
    else:
        assert parser.date() == value
        parser.end()


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        pytest.param(b'" 7-Feb-1994 21:52:25 -0800"', timedelta(hours=-8), id="rfc-example"),
        pytest.param(b'"07-Feb-1994 21:52:25 +0530"', timedelta(hours=5, minutes=30), id="two-digits"),
    ],
)
def test_date_time(text: bytes, offset: timedelta) -> None:
    moment = p(text).date_time()
    assert moment == datetime(1994, 2, 7, 21, 52, 25, tzinfo=timezone(offset))
    assert moment.utcoffset() == offset


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b'"7-Feb-1994 21:52:25 -0800"', id="one-digit-day"),
        pytest.param(b'" 7-Feb-1994 24:00:00 -0800"', id="hour-24"),
        pytest.param(b'" 7-Feb-1994 21:52:60 -0800"', id="second-60"),
        pytest.param(b'" 7-Feb-1994 21:52:25 +2400"', id="zone-of-a-day"),
        pytest.param(b'" 7-Feb-1994 21:52:25 +0060"', id="zone-of-60-minutes"),
        pytest.param(b'" 7-Feb-1994 21:52:25 GMT"', id="zone-name"),
        pytest.param(b'" 0-Feb-1994 21:52:25 +0000"', id="day-0"),
        pytest.param(b'"01-Jan-0001 00:00:00 +0100"', id="before-the-year-1-in-utc"),
        pytest.param(b'"31-Dec-9999 23:59:59 -0100"', id="after-the-year-9999-in-utc"),
        pytest.param(b" 7-Feb-1994 21:52:25 -0800", id="bare"),
        pytest.param(b"", id="missing"),
    ],
)
def test_no_date_time(text: bytes) -> None:
    with pytest.raises(ParseError):
        p(text).date_time()


def test_list_of() -> None:
    parser = p(b"(1 2 3)x")
    assert parser.list_of(parser.number) == [1, 2, 3]
    assert parser.atom() == "x"
    parser = p(b"()")
    assert parser.list_of(parser.number, empty=True) == []
    parser = p(b"()")
    with pytest.raises(ParseError):
        parser.list_of(parser.number)


@pytest.mark.parametrize("depth", [MAX_NESTING, MAX_NESTING + 1, 30_000])
def test_nesting_is_capped(depth: int) -> None:
    parser = p(b"(" * depth + b"1" + b")" * depth)

    def item() -> object:
        return parser.list_of(item) if parser.peek() == ord("(") else parser.number()

    if depth <= MAX_NESTING:
        item()
        parser.end()
    else:
        with pytest.raises(ParseError):
            item()


def test_nesting_is_depth_not_count() -> None:
    parser = p(b"(" + b" ".join([b"(1)"] * 1000) + b")")
    assert parser.list_of(lambda: parser.list_of(parser.number)) == [[1]] * 1000


@pytest.mark.parametrize(
    ("read", "text", "error"),
    [
        pytest.param(Parser.sp, b"", "Missing arguments", id="sp-at-the-end"),
        pytest.param(Parser.sp, b"x", "Expected a space", id="sp"),
        pytest.param(lambda x: x.expect(b")"), b"", "Missing arguments", id="expect-at-the-end"),
        pytest.param(lambda x: x.expect(b")"), b"x", "Expected ')'", id="expect"),
        pytest.param(Parser.atom, b"", "Missing arguments", id="atom-at-the-end"),
        pytest.param(Parser.end, b"x", "Unexpected arguments", id="end"),
    ],
)
def test_error_texts_are_public(read: Callable[[Parser], None], text: bytes, error: str) -> None:
    with pytest.raises(ParseError) as caught:
        read(p(text))
    assert caught.value.text == error


def test_keyword_is_upper_case() -> None:
    assert p(b"unSeen").keyword() == "UNSEEN"
