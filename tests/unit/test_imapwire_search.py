"""SEARCH: each key, grouping, charsets, sets, and cost."""

import time
from datetime import date

import pytest

from duckmail.model import search
from duckmail.model.ranges import Ranges
from duckmail.model.search import (
    All,
    And,
    Body,
    DateField,
    DateRange,
    Flag,
    Header,
    ModSeq,
    Not,
    Or,
    Recent,
    Size,
    Text,
    Uids,
    Within,
)
from protocols.imap.wire.framer import Literal, Part
from protocols.imap.wire.parser import MAX_NESTING, ParseError, Parser
from protocols.imap.wire.search import BadCharset, SearchReturn, contains_modseq, resolve, search_program
from protocols.imap.wire.sequence import SequenceSet

SEEN, DRAFT, DELETED = Flag("\\Seen"), Flag("\\Draft"), Flag("\\Deleted")


def to_uids(numbers: SequenceSet, uid: bool) -> Ranges:
    """Ten messages, UIDs from 101."""
    if uid:
        return numbers.resolve(110)
    return Ranges.from_pairs((first + 100, last + 100) for first, last in numbers.resolve(10).pairs)


def read(*parts: Part, utf8: bool = False) -> search.Node:
    return resolve(search_program(Parser(parts, utf8))[2], to_uids)


@pytest.mark.parametrize(
    ("text", "node"),
    [
        pytest.param(b"ALL", All(), id="all"),
        pytest.param(b"answered", Flag("\\Answered"), id="any-case"),
        pytest.param(b"DELETED", DELETED, id="deleted"),
        pytest.param(b"DRAFT", DRAFT, id="draft"),
        pytest.param(b"FLAGGED", Flag("\\Flagged"), id="flagged"),
        pytest.param(b"SEEN", SEEN, id="seen"),
        pytest.param(b"UNANSWERED", Not(Flag("\\Answered")), id="unanswered"),
        pytest.param(b"UNDELETED", Not(DELETED), id="undeleted"),
        pytest.param(b"UNDRAFT", Not(DRAFT), id="undraft"),
        pytest.param(b"UNFLAGGED", Not(Flag("\\Flagged")), id="unflagged"),
        pytest.param(b"UNSEEN", Not(SEEN), id="unseen"),
        pytest.param(b"NEW", And((Recent(), Not(SEEN))), id="new-is-recent-unseen"),
        pytest.param(b"OLD", Not(Recent()), id="old-is-not-recent"),
        pytest.param(b"RECENT", Recent(), id="recent"),
        pytest.param(b"KEYWORD $Work", Flag("$Work"), id="keyword"),
        pytest.param(b"UNKEYWORD $Work", Not(Flag("$Work")), id="unkeyword"),
        pytest.param(b"FROM smith", Header("from", "smith"), id="from"),
        pytest.param(b'TO "a b"', Header("to", "a b"), id="to"),
        pytest.param(b"CC x", Header("cc", "x"), id="cc"),
        pytest.param(b"BCC x", Header("bcc", "x"), id="bcc"),
        pytest.param(b'SUBJECT "x"', Header("subject", "x"), id="subject"),
        pytest.param(b'HEADER Message-ID ""', Header("message-id", ""), id="header"),
        pytest.param(b"BODY x", Body("x"), id="body"),
        pytest.param(b"TEXT x", Text("x"), id="text"),
        pytest.param(b"LARGER 100", Size(larger=100), id="larger"),
        pytest.param(b"SMALLER 0", Size(smaller=0), id="smaller"),
        pytest.param(b"BEFORE 2-Jan-2020", DateRange(DateField.INTERNAL, before=date(2020, 1, 2)), id="before"),
        pytest.param(
            b'ON "31-Dec-2020"', DateRange(DateField.INTERNAL, date(2020, 12, 31), date(2021, 1, 1)), id="on-is-one-day"
        ),
        pytest.param(b"ON 31-Dec-9999", DateRange(DateField.INTERNAL, date(9999, 12, 31)), id="on-the-last-day"),
        pytest.param(b"SINCE 2-Jan-2020", DateRange(DateField.INTERNAL, date(2020, 1, 2)), id="since"),
        pytest.param(b"SENTBEFORE 2-Jan-2020", DateRange(DateField.SENT, before=date(2020, 1, 2)), id="sentbefore"),
        pytest.param(b"SENTON 2-Jan-2020", DateRange(DateField.SENT, date(2020, 1, 2), date(2020, 1, 3)), id="senton"),
        pytest.param(b"SENTSINCE 2-Jan-2020", DateRange(DateField.SENT, date(2020, 1, 2)), id="sentsince"),
        pytest.param(b"OLDER 60", Within(older=60), id="older"),
        pytest.param(b"YOUNGER 60", Within(younger=60), id="younger"),
        pytest.param(b"MODSEQ 620", ModSeq(620), id="modseq"),
        pytest.param(b'MODSEQ "/flags/\\\\draft" all 620', ModSeq(620), id="modseq-of-an-entry"),
        pytest.param(b"UID 105:*", Uids(Ranges(((105, 110),))), id="uid-set"),
        pytest.param(b"2:4", Uids(Ranges(((102, 104),))), id="sequence-set"),
        pytest.param(b"*", Uids(Ranges.of(110)), id="star"),
        pytest.param(b"$", Uids(Ranges()), id="saved"),
    ],
)
def test_keys(text: bytes, node: search.Node) -> None:
    assert read(text) == node


A, B, C, D = (Flag(name) for name in "abcd")
KA, KB, KC, KD = (f"KEYWORD {name}" for name in "abcd")


@pytest.mark.parametrize(
    ("text", "node"),
    [
        pytest.param("SEEN DRAFT", And((SEEN, DRAFT)), id="row-is-and"),
        pytest.param("(SEEN)", SEEN, id="parentheses"),
        pytest.param("(SEEN DRAFT) DELETED", And((And((SEEN, DRAFT)), DELETED)), id="row-in-row"),
        pytest.param("NOT SEEN DRAFT", And((Not(SEEN), DRAFT)), id="not-binds-one-key"),
        pytest.param("NOT (SEEN DRAFT)", Not(And((SEEN, DRAFT))), id="not-of-a-row"),
        pytest.param("NOT NOT SEEN", Not(Not(SEEN)), id="not-not"),
        pytest.param("OR SEEN DRAFT DELETED", And((Or((SEEN, DRAFT)), DELETED)), id="or-binds-two-keys"),
        pytest.param("OR (SEEN DRAFT) DELETED", Or((And((SEEN, DRAFT)), DELETED)), id="or-of-a-row"),
        pytest.param("NOT OR SEEN DRAFT", Not(Or((SEEN, DRAFT))), id="not-or"),
        pytest.param("OR NOT SEEN NOT DRAFT", Or((Not(SEEN), Not(DRAFT))), id="or-not"),
        pytest.param(f"OR {KA} OR {KB} OR {KC} {KD}", Or((A, B, C, D)), id="or-chain"),
        pytest.param(f"OR OR {KA} {KB} {KC}", Or((Or((A, B)), C)), id="or-in-or"),
        pytest.param(f"OR OR {KA} {KB} OR {KC} {KD}", Or((Or((A, B)), C, D)), id="or-in-both"),
        pytest.param(f"OR ALL {KA}", Or((All(), A)), id="all-in-or-stays"),
        pytest.param("OR 1 UID 1", Or((Uids(Ranges.of(101)), Uids(Ranges.of(1)))), id="sets-in-or"),
    ],
)
def test_grouping(text: str, node: search.Node) -> None:
    assert read(text.encode()) == node


@pytest.mark.parametrize(
    ("parts", "charset", "node"),
    [
        pytest.param((b"CHARSET utf-8 TEXT ", Literal("ü".encode()), b""), "UTF-8", Text("ü"), id="utf-8"),
        pytest.param((b'CHARSET "ISO-8859-1" TEXT "\xfc"',), "ISO-8859-1", Text("ü"), id="latin-1"),
        pytest.param((b"CHARSET US-ASCII TEXT x",), "US-ASCII", Text("x"), id="us-ascii"),
        pytest.param(
            (b"CHARSET koi8-r SUBJECT ", Literal("да".encode("koi8-r")), b""), "KOI8-R", Header("subject", "да")
        ),
        pytest.param(('TEXT "ü"'.encode(),), "US-ASCII", Text("ü"), id="utf-8-without-charset"),
    ],
)
def test_charsets(parts: tuple[Part, ...], charset: str, node: search.Node) -> None:
    _, named, tree = search_program(Parser(parts))
    assert (named, tree) == (charset, node)


@pytest.mark.parametrize(
    "name", [b"X-UNKNOWN", b"rot13", b"idna", b"punycode", b"unicode_escape", b'""', b'"\xff"', b"zlib"]
)
def test_unknown_charsets(name: bytes) -> None:
    with pytest.raises(BadCharset):
        read(b"CHARSET " + name + b" ALL")


def test_charset_with_utf8_accept() -> None:
    """RFC 6855 §3."""
    assert read('TEXT "ü"'.encode(), utf8=True) == Text("ü")
    assert read(b"CHARSET UTF-8 ALL", utf8=True) == All()
    with pytest.raises(ParseError) as caught:
        read(b"CHARSET ISO-8859-1 ALL", utf8=True)
    assert not isinstance(caught.value, BadCharset)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        pytest.param(b"ALL", None, id="none"),
        pytest.param(b"RETURN () ALL", ("ALL",), id="empty-is-all"),
        pytest.param(b"return (min Max MIN) CHARSET UTF-8 ALL", ("MIN", "MAX"), id="each-once-before-charset"),
        pytest.param(b"RETURN (SAVE COUNT) ALL", ("SAVE", "COUNT"), id="save"),
    ],
)
def test_return_options(text: bytes, options: tuple[str, ...] | None) -> None:
    found, _, tree = search_program(Parser([text]))
    assert found == (None if options is None else SearchReturn(options))
    assert tree == All()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"CHARSET UTF-8", id="charset-alone"),
        pytest.param(b"RETURN (MIN)", id="return-alone"),
        pytest.param(b"RETURN (OTHER) ALL", id="unknown-return-option"),
        pytest.param(b"CHARSET UTF-8 RETURN (MIN) ALL", id="return-behind-charset"),
        pytest.param(b"NOPE", id="unknown-key"),
        pytest.param(b"()", id="empty-list"),
        pytest.param(b"(ALL", id="open-list"),
        pytest.param(b"ALL)", id="closed-too-often"),
        pytest.param(b"ALL ", id="space-at-the-end"),
        pytest.param(b"ALL  SEEN", id="two-spaces"),
        pytest.param(b"NOT", id="not-of-nothing"),
        pytest.param(b"OR SEEN", id="or-of-one"),
        pytest.param(b"FROM", id="from-without-string"),
        pytest.param(b"FROM NIL SEEN (", id="open-behind-string"),
        pytest.param(b"FROM (x)", id="list-for-string"),
        pytest.param(b"HEADER x", id="header-without-value"),
        pytest.param(b'HEADER "" x', id="header-without-name"),
        pytest.param(b'HEADER "\xff" x', id="header-name-beyond-ascii"),
        pytest.param(b"SINCE yesterday", id="no-date"),
        pytest.param(b"LARGER x", id="no-number"),
        pytest.param(b"KEYWORD \\Seen", id="keyword-is-no-system-flag"),
        pytest.param(b"OLDER 0", id="older-zero"),
        pytest.param(b"0", id="sequence-zero"),
        pytest.param(b"UID", id="uid-without-set"),
        pytest.param(b"UID ALL", id="uid-without-number"),
        pytest.param(b"MODSEQ", id="modseq-without-number"),
        pytest.param(b'MODSEQ "/flags/x" other 5', id="modseq-entry-type"),
        pytest.param(b'TEXT "\xff"', id="invalid-utf-8"),
        pytest.param(b'CHARSET UTF-8 TEXT "\xff"', id="invalid-utf-8-named"),
    ],
)
def test_refused(text: bytes) -> None:
    with pytest.raises(ParseError) as caught:
        read(text)
    assert not isinstance(caught.value, BadCharset)


@pytest.mark.parametrize(
    ("text", "contains"),
    [(b"ALL", False), (b"MODSEQ 1", True), (b"OR SEEN NOT (ALL MODSEQ 1)", True), (b"NOT (1 OR 2 UID 3)", False)],
)
def test_contains_modseq(text: bytes, contains: bool) -> None:
    assert contains_modseq(search_program(Parser([text]))[2]) is contains


@pytest.mark.parametrize(
    "word",
    [pytest.param(b"(%b)", id="parentheses"), pytest.param(b"NOT %b", id="not"), pytest.param(b"OR %b ALL", id="or")],
)
def test_nesting_is_capped(word: bytes) -> None:
    def nested(depth: int) -> bytes:
        text = b"ALL"
        for _ in range(depth):
            text = word % text
        return text

    read(nested(MAX_NESTING))
    for depth in (MAX_NESTING + 1, 5000):
        with pytest.raises(ParseError):
            read(nested(depth))


@pytest.mark.parametrize(
    "term",
    [
        pytest.param(b"FROM a ", id="row"),
        pytest.param(b"OR FROM a ", id="or"),
        pytest.param(b"(1:* SEEN) ", id="lists"),
    ],
)
def test_ten_thousand_terms_are_linear(term: bytes) -> None:
    def once(count: int) -> float:
        start = time.process_time()
        read(term * count + b"ALL")
        return time.process_time() - start

    def cost(count: int) -> float:
        return min(once(count) for _ in range(4))  # a busy machine only ever adds

    assert cost(10_000) < 40 * max(cost(1_000), 0.002)  # 10 when linear, 100 when quadratic
