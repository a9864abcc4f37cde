"""FETCH items: grammar, macros, the names that answers carry, modifiers."""

import pytest

from duckmail.mime.section import SectionPart
from protocols.imap.wire.fetch import MAX_ITEMS, BodySection, FetchItem, Simple, fetch_items, fetch_modifiers
from protocols.imap.wire.framer import Literal, Part
from protocols.imap.wire.parser import ParseError, Parser

BODY, HEADER, TEXT, MIME = SectionPart.BODY, SectionPart.HEADER, SectionPart.TEXT, SectionPart.MIME


def read(*parts: Part) -> tuple[FetchItem, ...]:
    parser = Parser(parts)
    items = fetch_items(parser)
    parser.end()
    return items


def names(*words: str) -> tuple[FetchItem, ...]:
    return tuple(Simple(word) for word in words)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        pytest.param(b"FLAGS", names("FLAGS"), id="one"),
        pytest.param(b"(FLAGS)", names("FLAGS"), id="list-of-one"),
        pytest.param(b"(uid rfc822.size)", names("UID", "RFC822.SIZE"), id="any-case"),
        pytest.param(b"(FLAGS UID FLAGS)", names("FLAGS", "UID"), id="each-once"),
        pytest.param(b"ALL", names("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"), id="all"),
        pytest.param(b"fast", names("FLAGS", "INTERNALDATE", "RFC822.SIZE"), id="fast"),
        pytest.param(b"FULL", names("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"), id="full"),
        pytest.param(b"BODY", names("BODY"), id="body"),
        pytest.param(b"(BODY BODYSTRUCTURE)", names("BODY", "BODYSTRUCTURE"), id="body-and-bodystructure"),
        pytest.param(
            b"(RFC822 RFC822.HEADER RFC822.TEXT)", names("RFC822", "RFC822.HEADER", "RFC822.TEXT"), id="rfc822"
        ),
        pytest.param(
            b"(MODSEQ EMAILID THREADID SAVEDATE)", names("MODSEQ", "EMAILID", "THREADID", "SAVEDATE"), id="new"
        ),
    ],
)
def test_simple_items(text: bytes, items: tuple[FetchItem, ...]) -> None:
    assert read(text) == items


@pytest.mark.parametrize(
    ("text", "item", "name"),
    [
        pytest.param(b"BODY[]", BodySection((), BODY), b"BODY[]", id="whole"),
        pytest.param(b"body.peek[]", BodySection((), BODY, peek=True), b"BODY[]", id="peek"),
        pytest.param(b"BODY[HEADER]", BodySection((), HEADER), b"BODY[HEADER]", id="header"),
        pytest.param(b"BODY[text]", BodySection((), TEXT), b"BODY[TEXT]", id="text"),
        pytest.param(b"BODY[1]", BodySection((1,), BODY), b"BODY[1]", id="part"),
        pytest.param(b"BODY[1.22.3]", BodySection((1, 22, 3), BODY), b"BODY[1.22.3]", id="nested-part"),
        pytest.param(b"BODY[1.MIME]", BodySection((1,), MIME), b"BODY[1.MIME]", id="mime"),
        pytest.param(b"BODY[2.1.HEADER]", BodySection((2, 1), HEADER), b"BODY[2.1.HEADER]", id="part-header"),
        pytest.param(b"BODY[]<0.10>", BodySection((), BODY, partial=(0, 10)), b"BODY[]<0>", id="partial"),
        pytest.param(b"BODY[1]<99.1>", BodySection((1,), BODY, partial=(99, 1)), b"BODY[1]<99>", id="part-partial"),
        pytest.param(
            b"BODY.PEEK[HEADER.FIELDS (From To)]",
            BodySection((), HEADER, (b"From", b"To"), peek=True),
            b"BODY[HEADER.FIELDS (From To)]",
            id="fields-as-written",
        ),
        pytest.param(
            b'BODY[1.2.header.fields.not ("X y" NIL)]<5.6>',
            BodySection((1, 2), HEADER, (b"X y", b"NIL"), invert=True, partial=(5, 6)),
            b'BODY[1.2.HEADER.FIELDS.NOT ("X y" "NIL")]<5>',
            id="fields-not-quoted-where-needed",
        ),
    ],
)
def test_sections(text: bytes, item: BodySection, name: bytes) -> None:
    assert read(text) == (item,)
    assert read(b"(" + text + b" UID)") == (item, Simple("UID"))
    assert item.response_name() == name


def test_field_names_as_literals() -> None:
    items = read(b"(BODY[HEADER.FIELDS (", Literal(b"To"), b" ", Literal(b"X\xff"), b")] UID)")
    assert items == (BodySection((), HEADER, (b"To", b"X\xff")), Simple("UID"))
    assert items[0].response_name() == b"BODY[HEADER.FIELDS (To {2}\r\nX\xff)]"


@pytest.mark.parametrize("text", [b"FLAGS", b"BODY[1.HEADER.FIELDS (A)]<3>", b"RFC822.SIZE", b"BODY[3.MIME]"])
def test_the_response_name_reads_as_the_item_again(text: bytes) -> None:
    # The origin alone is no partial of a request; add a count.
    (item,) = read(text.replace(b"<3>", b"<3.9>"))
    assert item.response_name() == text


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"()", id="empty-list"),
        pytest.param(b"(ALL)", id="macro-in-a-list"),
        pytest.param(b"(FLAGS  UID)", id="two-spaces"),
        pytest.param(b"NIL", id="nil"),
        pytest.param(b'"FLAGS"', id="string"),
        pytest.param(b"((FLAGS))", id="list-in-list"),
        pytest.param(b"RFC822.PEEK", id="unknown"),
        pytest.param(b"BODY.PEEK", id="peek-without-section"),
        pytest.param(b"RFC822[]", id="section-of-another-item"),
        pytest.param(b"BODY[", id="open"),
        pytest.param(b"BODY[]<0>", id="partial-without-count"),
        pytest.param(b"BODY[]<0.0>", id="partial-of-nothing"),
        pytest.param(b"BODY[]<-1.5>", id="partial-minus"),
        pytest.param(b"BODY[]<0.1", id="partial-open"),
        pytest.param(b"BODY[MIME]", id="mime-of-the-message"),
        pytest.param(b"BODY[0]", id="part-zero"),
        pytest.param(b"BODY[1.]", id="dot-at-the-end"),
        pytest.param(b"BODY[.1]", id="dot-first"),
        pytest.param(b"BODY[1..2]", id="two-dots"),
        pytest.param(b"BODY[1.01]", id="zero-in-front"),
        pytest.param(b"BODY[HEADER.1]", id="part-behind-text"),
        pytest.param(b"BODY[HEADER.FIELDS]", id="fields-without-list"),
        pytest.param(b"BODY[HEADER.FIELDS ()]", id="no-fields"),
        pytest.param(b'BODY[HEADER.FIELDS ("")]', id="empty-field-name"),
        pytest.param(b"BODY[HEADER (To)]", id="list-behind-header"),
        pytest.param(b"BODY[ TEXT]", id="space"),
        pytest.param(b"BODY[99999999999]", id="eleven-digits"),
    ],
)
def test_refused(text: bytes) -> None:
    with pytest.raises(ParseError):
        read(text)


def test_the_number_of_items_is_limited() -> None:
    assert len(read(b"(" + b" ".join(b"BODY[%d]" % number for number in range(1, MAX_ITEMS + 1)) + b")")) == MAX_ITEMS
    with pytest.raises(ParseError):
        read(b"(" + b" ".join(b"BODY[%d]" % number for number in range(1, MAX_ITEMS + 2)) + b")")
    assert read(b"(" + b" ".join([b"BODY[]"] * 9000) + b")") == (BodySection((), BODY),)


@pytest.mark.parametrize(
    ("text", "modifiers"),
    [
        pytest.param(b"", {}, id="none"),
        pytest.param(b" (CHANGEDSINCE 12345)", {"CHANGEDSINCE": 12345}, id="changedsince"),
        pytest.param(b" (changedsince 0)", {"CHANGEDSINCE": 0}, id="zero-is-taken"),
        pytest.param(b" (VANISHED CHANGEDSINCE 1)", {"CHANGEDSINCE": 1, "VANISHED": None}, id="vanished"),
    ],
)
def test_modifiers(text: bytes, modifiers: dict[str, int | None]) -> None:
    assert fetch_modifiers(Parser([text])) == modifiers


@pytest.mark.parametrize(
    "text",
    [
        *(b" ", b" ()", b" (CHANGEDSINCE)", b" (CHANGEDSINCE x)", b" (VANISHED)", b" (OTHER)", b"(CHANGEDSINCE 1)"),
        *(b" CHANGEDSINCE 1", b" (CHANGEDSINCE 1) x", b" (CHANGEDSINCE 1 CHANGEDSINCE 2)"),
        *(b" (CHANGEDSINCE 9223372036854775808)",),
    ],
)
def test_refused_modifiers(text: bytes) -> None:
    with pytest.raises(ParseError):
        fetch_modifiers(Parser([text]))
