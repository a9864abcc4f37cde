"""Header blocks: fields, selection, unfolding, RFC 2047."""

import time

import pytest

from duckmail.mime.header import INDEXED, MAX_FIELDS, Field, Lookup, decode, decode_words, fields, select_fields, unfold

BLOCK = (
    b"Received: one\r\n\tfolded\r\nSubject: s\r\nSubject-X: no\r\n"
    b"received : two\r\nX:y\r\nstray line\r\nTO: a,\r\n b\r\n\r\n"
)


def test_fields() -> None:
    assert fields(BLOCK) == [
        Field(b"Received", b"Received: one\r\n\tfolded\r\n", b"one\tfolded"),
        Field(b"Subject", b"Subject: s\r\n", b"s"),
        Field(b"Subject-X", b"Subject-X: no\r\n", b"no"),
        Field(b"received", b"received : two\r\n", b"two"),
        Field(b"X", b"X:y\r\n", b"y"),
        Field(b"TO", b"TO: a,\r\n b\r\n", b"a, b"),
    ]


def test_fields_are_limited() -> None:
    assert len(fields(b"a:\n" * (MAX_FIELDS + 10))) == MAX_FIELDS


@pytest.mark.parametrize(
    ("names", "invert", "expected"),
    [
        pytest.param({b"SUBJECT"}, False, b"Subject: s\r\n\r\n", id="case-is-ignored-and-prefixes-are-others"),
        pytest.param({b"received"}, False, b"Received: one\r\n\tfolded\r\nreceived : two\r\n\r\n", id="all-of-a-name"),
        pytest.param({b"To", b"Subject"}, False, b"Subject: s\r\nTO: a,\r\n b\r\n\r\n", id="order-of-the-header"),
        pytest.param({b"Bcc"}, False, b"\r\n", id="none-is-an-empty-line"),
        pytest.param(set(), False, b"\r\n", id="no-names"),
        pytest.param({b""}, False, b"\r\n", id="empty-name"),
        pytest.param({b"x:y\r\nto"}, False, b"\r\n", id="a-name-with-a-line-end-matches-nothing"),
        pytest.param({b"stray line"}, False, b"\r\n", id="not-a-field"),
        pytest.param(
            {b"Received", b"TO"}, True, b"Subject: s\r\nSubject-X: no\r\nX:y\r\nstray line\r\n\r\n", id="not-those"
        ),
        pytest.param(set(), True, BLOCK, id="not-none-is-all"),
        pytest.param(
            {b"received", b"subject", b"subject-x", b"x", b"to"},
            True,
            b"stray line\r\n\r\n",
            id="not-all-leaves-the-rest",
        ),
    ],
)
def test_select_fields(names: set[bytes], invert: bool, expected: bytes) -> None:
    assert select_fields(BLOCK, frozenset(names), invert) == expected


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        pytest.param(b"", b"\r\n", id="empty"),
        pytest.param(b"\r\n", b"\r\n", id="only-the-empty-line"),
        pytest.param(b"X: y", b"X: y\r\n\r\n", id="no-line-end"),
        pytest.param(b"X: y\r\n", b"X: y\r\n\r\n", id="no-empty-line"),
        pytest.param(b"X: y\n\n", b"X: y\n\r\n", id="lf-lines"),
        pytest.param(b"X: y\n\r\n", b"X: y\n\r\n", id="lf-then-crlf"),
        pytest.param(b"X:\r\n \r\n\r\n", b"X:\r\n \r\n\r\n", id="blank-continuation"),
    ],
)
def test_selection_ends_with_an_empty_line(block: bytes, expected: bytes) -> None:
    assert select_fields(block, frozenset({b"x"}), invert=False) == expected
    assert select_fields(block, frozenset(), invert=True) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(b" a\r\n b\r\n", b"a b", id="crlf"),
        pytest.param(b"a\n\tb\n", b"a\tb", id="lf"),
        pytest.param(b"\r\n a \r\n", b"a", id="starts-folded"),
        pytest.param(b"a\r b", b"a\r b", id="cr-alone-stays"),
    ],
)
def test_unfold(raw: bytes, expected: bytes) -> None:
    assert unfold(raw) == expected


@pytest.mark.parametrize(
    ("block", "strays"),
    [
        pytest.param(b"", 0, id="empty"),
        pytest.param(b"A: b\r\n\r\n", 1, id="the-empty-line"),
        pytest.param(b"A : b\n\tc\n\n", 1, id="lf-lines"),
        pytest.param(b"A: b", 0, id="no-line-end"),
        pytest.param(b"A: b\r\n\r\n\r\n", 2, id="two-empty-lines"),
        pytest.param(b"From a@b\r\nA: b\r\nno field: x\r\n\r\n", 3, id="no-fields"),
        pytest.param(b" x: y\r\nA: b\r\n\r\n", 2, id="continues-nothing"),
        pytest.param(b"A: b\r\n\r", 1, id="cr-alone"),
        pytest.param(b"A: b\r\n:\r\n\xff: c\r\n\r\n", 3, id="no-names"),
        pytest.param(b"A: " + b"x" * INDEXED, -1, id="long"),
    ],
)
def test_lines_that_are_no_fields_are_counted(block: bytes, strays: int) -> None:
    lookup = Lookup(block)
    assert lookup.strays == strays
    assert lookup.all(b"a") == [field.value for field in fields(block) if field.name == b"A"]


def test_lookup_first_and_all() -> None:
    lookup = Lookup(BLOCK)
    assert lookup.first(b"subject") == b"s"
    assert lookup.first(b"received") == b"one\tfolded"
    assert lookup.all(b"received") == [b"one\tfolded", b"two"]
    assert lookup.first(b"subj") is None
    assert lookup.all(b"stray") == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b"plain", "plain", id="plain"),
        pytest.param(b"=?ISO-8859-1?Q?a?=", "a", id="q"),
        pytest.param(b"=?ISO-8859-1?Q?a_b=5F?=", "a b_", id="underscore-is-a-blank"),
        pytest.param(b"=?utf-8?B?w4TDpA==?=", "Ää", id="b"),
        # The examples of RFC 2047 §8
        pytest.param(b"(=?ISO-8859-1?Q?a?= b)", "(a b)", id="rfc2047-word-then-text"),
        pytest.param(b"(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)", "(ab)", id="rfc2047-blank-between-words"),
        pytest.param(b"(=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=)", "(ab)", id="rfc2047-blanks-between-words"),
        pytest.param(b"(=?ISO-8859-1?Q?a_?= =?ISO-8859-2?Q?_b?=)", "(a  b)", id="rfc2047-encoded-blanks"),
        pytest.param(b"=?utf-8?q?=C3?= =?utf-8?q?=A4?=", "ä", id="character-split-between-words"),
        pytest.param(b"=?iso-8859-1?q?=E4?= =?utf-8?q?=C3=A4?=", "ää", id="adjacent-in-two-charsets"),
        pytest.param(b"=?UTF-8?b?4pi?= =?utf-8?q?=BA?=", "☺", id="split-between-b-and-q"),
        pytest.param(b"=?utf-8?b?w6Q?=", "ä", id="padding-missing"),
        pytest.param(b"=?utf-8?b?w 6!Q=?=", "ä", id="junk-in-base64"),
        pytest.param(b"=?utf-8?q?=zz=4?=", "=zz=4", id="junk-in-q"),
        pytest.param(b"=?x-nowhere?q?a?=", "=?x-nowhere?q?a?=", id="unknown-charset-stays"),
        pytest.param(b"=?x-nowhere?q?a?= =?utf-8?q?b?=", "=?x-nowhere?q?a?= b", id="unknown-then-known"),
        pytest.param(b"=?utf-8?x?a?=", "=?utf-8?x?a?=", id="unknown-encoding-stays"),
        pytest.param(b"=?utf-8*de?q?a?=", "a", id="language"),
        pytest.param(b"=?utf-8?q?a b?=", "a b", id="blank-inside"),
        pytest.param(b"a=?utf-8?q?b?=c", "abc", id="not-delimited"),
        pytest.param("Grüße".encode(), "Grüße", id="raw-utf8"),
        pytest.param("Grüße".encode("latin-1"), "Grüße", id="raw-latin1"),
        pytest.param("ä =?utf-8?q?=C3=B6?= ü".encode(), "ä ö ü", id="raw-and-words"),
        pytest.param(b"=?utf-8?q?a=0D=0ABcc:_x?=", "a  Bcc: x", id="line-ends-cannot-be-smuggled"),
        pytest.param(b"a\0b\x7fc\td", "a b c\td", id="controls"),
        pytest.param(b"=?utf-7?q?+2AA-?=", "�", id="lone-surrogate"),
        pytest.param(b"=?rot13?q?uryyb?=", "=?rot13?q?uryyb?=", id="not-a-charset"),
        pytest.param(b"=?", "=?", id="cut"),
        pytest.param(b"=?utf-8?q??=", "", id="empty-word"),
    ],
)
def test_decode(value: bytes, expected: str) -> None:
    assert decode(value) == expected


def test_decode_words_keeps_lines() -> None:
    assert decode_words(b"A: =?utf-8?q?=C3=A4?=\nB: =?utf-8?q?b?=\n") == "A: ä\nB: b\n"
    assert decode_words(b"=?utf-8?q?a?=\n=?utf-8?q?b?=") == "a\nb"


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"=?utf-8?q?" * 200_000, id="openings"),
        pytest.param(b"=?utf-8?b?w4Q=?= " * 100_000, id="words"),
        pytest.param(b"=?" * 1_000_000, id="marks"),
        pytest.param(b"=?utf-8?q?" + b"=" * 2_000_000 + b"?=", id="escapes"),
    ],
)
def test_decoding_is_linear(value: bytes) -> None:
    """A quadratic decoder would take hours for these megabytes."""
    begin = time.process_time()
    decode(value)
    assert time.process_time() - begin < 30


@pytest.mark.parametrize("invert", [False, True])
def test_selection_is_linear(invert: bool) -> None:
    block = b"a:\n" * 200_000 + b"b: c\n" + b" d\n" * 500_000 + b"ax\n" * 300_000
    begin = time.process_time()
    select_fields(block, frozenset({b"a", b"b", b"c"}), invert)
    assert time.process_time() - begin < 30
