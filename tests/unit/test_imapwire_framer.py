"""The framer: commands, literals of three kinds, what is refused, and what is never read as a command."""

from collections.abc import Callable

import pytest

from protocols.imap.wire.framer import (
    BEFORE_LOGIN,
    ENDLESS,
    MAX_TAG,
    Command,
    CommandReady,
    ContinuationLine,
    Drained,
    Event,
    Framer,
    FramerLimits,
    Literal,
    LiteralAnnounced,
    LiteralData,
    LiteralEnd,
    Malformed,
    StreamedLiteral,
)

SMALL = FramerLimits(max_line=40, max_literal=30, max_literals=3, max_command=100)
Answer = Callable[[Framer], None]
accept, stream, refuse = Framer.accept_literal, Framer.stream_literal, Framer.refuse_literal


def events(data: bytes, answer: Answer = accept, limits: FramerLimits = SMALL) -> list[Event]:
    """All events; announcements are answered and left out."""
    framer = Framer(limits)
    framer.feed(data)
    found: list[Event] = []
    while (event := framer.next_event()) is not None:
        if isinstance(event, LiteralAnnounced):
            answer(framer)
        else:
            found.append(event)
    return found


def ready(tag: str, name: str, *parts: bytes | Literal | StreamedLiteral) -> CommandReady:
    return CommandReady(Command(tag, name, parts))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"a NOOP\r\n", [ready("a", "NOOP", b"")], id="no-arguments"),
        pytest.param(b"a noop\r\n", [ready("a", "NOOP", b"")], id="name-in-upper-case"),
        pytest.param(b"a LOGIN x y\r\n", [ready("a", "LOGIN", b" x y")], id="arguments-keep-their-space"),
        pytest.param(b"A]1 NOOP \r\n", [ready("A]1", "NOOP", b" ")], id="bracket-in-tag-and-trailing-space"),
        pytest.param(
            b"a uid fetch 1 UID\r\n", [ready("a", "UID FETCH", b" 1 UID")], id="uid-and-its-word-are-one-name"
        ),
        pytest.param(b"a UID\r\n", [ready("a", "UID", b"")], id="uid-alone"),
        pytest.param(b"a UID FETCH(\r\n", [ready("a", "UID", b" FETCH(")], id="uid-and-no-word"),
        pytest.param(b"a UIDX FETCH\r\n", [ready("a", "UIDX", b" FETCH")], id="uidx-is-not-uid"),
        pytest.param(b"a NOOP\r\nb NOOP\r\n", [ready("a", "NOOP", b""), ready("b", "NOOP", b"")], id="pipelined"),
        pytest.param(b"a NOOP\r", [], id="half-a-line-end"),
        pytest.param(b"\r\n", [Malformed(None, "Bad tag")], id="empty-line"),
        pytest.param(b"a\r\n", [Malformed("a", "Bad command name")], id="tag-alone"),
        pytest.param(b"a \r\n", [Malformed("a", "Bad command name")], id="no-name"),
        pytest.param(b" NOOP\r\n", [Malformed(None, "Bad tag")], id="no-tag"),
        pytest.param(b"+ NOOP\r\n", [Malformed(None, "Bad tag")], id="plus-is-no-tag"),
        pytest.param(b"a* NOOP\r\n", [Malformed(None, "Bad tag")], id="star-in-tag"),
        pytest.param(b"a \xc3\xa9\r\n", [Malformed("a", "Bad command name")], id="name-is-ascii"),
        pytest.param(b"\xff NOOP\r\n", [Malformed(None, "Bad tag")], id="tag-is-ascii"),
        pytest.param(
            b"a " + b"N" * 38 + b"\r\nb NOOP\r\n",
            [ready("a", "N" * 38, b""), ready("b", "NOOP", b"")],
            id="unknown-name-and-a-line-as-long-as-the-limit",
        ),
        pytest.param(
            b"a " + b"N" * 39 + b"\r\nb NOOP\r\n",
            [Malformed("a", "Command line too long"), ready("b", "NOOP", b"")],
            id="a-line-one-octet-over-the-limit",
        ),
    ],
)
def test_commands(data: bytes, expected: list[Event]) -> None:
    assert events(data) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(
            b"a NOOP\nb NOOP\r\nc NOOP\r\n",
            [Malformed("a", "Lines end with CRLF"), ready("c", "NOOP", b"")],
            id="bare-lf-does-not-end-a-line-and-what-follows-is-no-command",
        ),
        pytest.param(
            b"a X \n{5+}\r\nb NOO\r\nc NOOP\r\n",
            [Malformed("a", "Lines end with CRLF"), ready("c", "NOOP", b"")],
            id="literal-behind-a-bare-lf-is-dropped",
        ),
        pytest.param(
            b"a NO\rOP\r\nb NOOP\r\n",
            [Malformed("a", "NUL or bare CR in a command line"), ready("b", "NOOP", b"")],
            id="bare-cr",
        ),
        pytest.param(
            b"a NO\0OP\r\nb NOOP\r\n",
            [Malformed("a", "NUL or bare CR in a command line"), ready("b", "NOOP", b"")],
            id="nul",
        ),
        pytest.param(
            b"a \0 {8+}\r\nb NOOP\r\n\r\nc NOOP\r\n",
            [Malformed("a", "NUL or bare CR in a command line"), ready("c", "NOOP", b"")],
            id="literal-of-a-bad-line-is-dropped",
        ),
        pytest.param(
            b"* {8+}\r\nb NOOP\r\n\r\nc NOOP\r\n",
            [Malformed(None, "Bad tag"), ready("c", "NOOP", b"")],
            id="literal-behind-a-bad-tag-is-dropped",
        ),
        pytest.param(
            b"a {8+}\r\nb NOOP\r\n\r\nc NOOP\r\n",
            [Malformed("a", "Bad command name"), ready("c", "NOOP", b"")],
            id="literal-as-a-name-is-dropped",
        ),
        pytest.param(
            b"a X " + b"x" * 100 + b"\r\nb NOOP\r\n",
            [Malformed("a", "Command line too long"), ready("b", "NOOP", b"")],
            id="long-line-is-skipped",
        ),
        pytest.param(
            b"a X " + b"x" * 100 + b"{8+}\r\nb NOOP\r\n {8+}\r\nc NOOP\r\n\r\nd NOOP\r\n",
            [Malformed("a", "Command line too long"), ready("d", "NOOP", b"")],
            id="literals-of-a-long-line-are-dropped",
        ),
        pytest.param(
            b"a X " + b"x" * 100 + b"{8}\r\nb NOOP\r\n",
            [Malformed("a", "Command line too long"), ready("b", "NOOP", b"")],
            id="synchronising-literal-of-a-long-line-is-never-sent",
        ),
        pytest.param(
            b"a X {" + b"0" * 100 + b"8+}\r\nb NOOP\r\n\r\nc NOOP\r\n",
            [Malformed("a", "Command line too long")],
            id="literal-size-whose-start-was-skipped-is-endless",
        ),
        pytest.param(
            b"a X {2+}\r\nxy" + b"z" * 100 + b"\r\nb NOOP\r\n",
            [Malformed("a", "Command line too long"), ready("b", "NOOP", b"")],
            id="long-line-behind-a-literal",
        ),
        pytest.param(
            b"a X {30+}\r\n" + b"x" * 30 + b" {30+}\r\n" + b"y" * 30 + b" {5}\r\n12345" + b"z" * 39 + b"\r\nb NOOP\r\n",
            [Malformed("a", "Command line too long"), ready("b", "NOOP", b"")],
            id="long-command-of-short-lines",
        ),
        pytest.param(
            b"a X {1+}\r\nx {1+}\r\nx {1+}\r\nx {8+}\r\nb NOOP\r\n\r\nc NOOP\r\n",
            [Malformed("a", "Too many literals"), ready("c", "NOOP", b"")],
            id="too-many-literals",
        ),
        pytest.param(b"x" * MAX_TAG + b" N\r\n", [ready("x" * MAX_TAG, "N", b"")], id="longest-tag"),
        pytest.param(b"x" * (MAX_TAG + 1) + b" N\r\n", [Malformed(None, "Bad tag")], id="too-long-tag"),
    ],
)
def test_malformed(data: bytes, expected: list[Event]) -> None:
    limits = BEFORE_LOGIN if data.startswith(b"xxx") else SMALL
    assert events(data, limits=limits) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(
            b"a LOGIN {1}\r\nx {2+}\r\nyz\r\n",
            ready("a", "LOGIN", b" ", Literal(b"x"), b" ", Literal(b"yz"), b""),
            id="synchronising-and-not",
        ),
        pytest.param(b"a X {0}\r\n\r\n", ready("a", "X", b" ", Literal(b""), b""), id="empty"),
        pytest.param(b"a X {0+}\r\n z\r\n", ready("a", "X", b" ", Literal(b""), b" z"), id="empty-and-more"),
        pytest.param(
            b"a X ~{3+}\r\n\0\r\n\r\n", ready("a", "X", b" ", Literal(b"\0\r\n", binary=True), b""), id="literal8"
        ),
        pytest.param(b"a X{2+}\r\n{}\r\n", ready("a", "X", b"", Literal(b"{}"), b""), id="right-behind-the-name"),
        pytest.param(b"a X {002+}\r\nab\r\n", ready("a", "X", b" ", Literal(b"ab"), b""), id="zeros-in-front"),
        pytest.param(b'a X "{1}\r\nx"\r\n', ready("a", "X", b' "', Literal(b"x"), b'"'), id="in-an-open-quote"),
        pytest.param(b"a X {}\r\n", ready("a", "X", b" {}"), id="no-digits"),
        pytest.param(b"a X {+}\r\n", ready("a", "X", b" {+}"), id="plus-alone"),
        pytest.param(b"a X {-1}\r\n", ready("a", "X", b" {-1}"), id="minus"),
        pytest.param(b"a X {1++}\r\n", ready("a", "X", b" {1++}"), id="two-plus"),
        pytest.param("a X {²}\r\n".encode("latin-1"), ready("a", "X", b" {\xb2}"), id="digit-beyond-ascii"),
        pytest.param(b"a X {1} \r\n", ready("a", "X", b" {1} "), id="not-at-the-end"),
        pytest.param(b"a X 1}\r\n", ready("a", "X", b" 1}"), id="brace-missing"),
    ],
)
def test_collected_literals(data: bytes, expected: CommandReady) -> None:
    assert events(data) == [expected]


def test_announcement() -> None:
    framer = Framer(SMALL)
    framer.feed(b"a APPEND {2+}\r\nxy (\\Seen) ~{300}\r\n")
    announced = framer.next_event()
    assert announced == LiteralAnnounced("a", "APPEND", 2, False, False, b" ", (b" ",), True)
    framer.accept_literal()
    announced = framer.next_event()
    parts = (b" ", Literal(b"xy"), b" (\\Seen) ")
    assert announced == LiteralAnnounced("a", "APPEND", 300, True, True, b" (\\Seen) ", parts, False)


@pytest.mark.parametrize(
    ("size", "within"),
    [
        pytest.param(30, True, id="as-large-as-a-literal-may-be"),
        pytest.param(31, False, id="over-the-literal"),
        pytest.param(10**18, False, id="19-digits"),
    ],
)
def test_within_limits(size: int, within: bool) -> None:
    framer = Framer(SMALL)
    framer.feed(b"a X {%d}\r\n" % size)
    announced = framer.next_event()
    assert isinstance(announced, LiteralAnnounced)
    assert announced.within_limits is within
    if within:
        framer.accept_literal()
    else:
        with pytest.raises(RuntimeError):
            framer.accept_literal()


def test_the_command_as_a_whole_has_a_limit_for_literals() -> None:
    framer = Framer(FramerLimits(max_line=50, max_literal=50, max_literals=9, max_command=70))
    framer.feed(b"a X {50+}\r\n" + b"x" * 50 + b" {8}\r\n")
    assert isinstance(framer.next_event(), LiteralAnnounced)
    framer.accept_literal()
    announced = framer.next_event()
    assert isinstance(announced, LiteralAnnounced)
    assert announced.within_limits is False


@pytest.mark.parametrize("digits", [b"1" * 19, b"9" * 25, b"1" * 5000])
def test_a_size_beyond_63_bits_is_endless(digits: bytes) -> None:
    framer = Framer(BEFORE_LOGIN)
    framer.feed(b"a X {" + digits + b"+}\r\nb NOOP\r\n")
    announced = framer.next_event()
    assert isinstance(announced, LiteralAnnounced)
    assert announced.size == ENDLESS
    framer.refuse_literal()
    assert framer.next_event() is None


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"a X {8}\r\nb NOOP\r\n", [ready("b", "NOOP", b"")], id="synchronising-is-over-at-once"),
        pytest.param(
            b"a X {8+}\r\nb NOOP\r\n y z\r\nc NOOP\r\n",
            [Drained("a"), ready("c", "NOOP", b"")],
            id="non-synchronising-is-drained-with-the-rest",
        ),
        pytest.param(
            b"a X {8+}\r\nb NOOP\r\n {8+}\r\nc NOOP\r\n\r\nd NOOP\r\n",
            [Drained("a"), ready("d", "NOOP", b"")],
            id="and-with-its-other-literals",
        ),
        pytest.param(
            b"a X {8+}\r\nb NOOP\r\n {8}\r\nc NOOP\r\n",
            [Drained("a"), ready("c", "NOOP", b"")],
            id="and-a-synchronising-one-behind-it-is-refused-too",
        ),
        pytest.param(
            b"a X {1+}\r\n\n" + b"x" * 1000 + b"\n\r\nc NOOP\r\n",
            [Drained("a"), ready("c", "NOOP", b"")],
            id="and-a-rest-of-any-length",
        ),
    ],
)
def test_refused_literals(data: bytes, expected: list[Event]) -> None:
    assert events(data, refuse) == expected


def test_streamed_literal() -> None:
    data = b"a APPEND x {8}\r\nb NOOP\r\n {0+}\r\n\r\nc NOOP\r\n"
    assert events(data, stream) == [
        LiteralData(b"b NOOP\r\n"),
        LiteralEnd(),
        LiteralEnd(),
        ready("a", "APPEND", b" x ", StreamedLiteral(8), b" ", StreamedLiteral(0), b""),
        ready("c", "NOOP", b""),
    ]


def test_a_streamed_literal_is_not_under_the_limits_of_collected_ones() -> None:
    framer = Framer(SMALL)
    framer.feed(b"a APPEND x ~{1000000+}\r\n")
    assert isinstance(framer.next_event(), LiteralAnnounced)
    framer.stream_literal()
    assert framer.next_event() is None
    for _ in range(100):
        framer.feed(b"x" * 10_000)
        assert framer.next_event() == LiteralData(b"x" * 10_000)
    assert framer.next_event() == LiteralEnd()
    framer.feed(b"\r\n")
    assert framer.next_event() == ready("a", "APPEND", b" x ", StreamedLiteral(1_000_000, binary=True), b"")


def test_an_announcement_must_be_answered_and_only_it() -> None:
    framer = Framer(SMALL)
    for answer in (accept, stream, refuse):
        with pytest.raises(RuntimeError):
            answer(framer)
    framer.feed(b"a X {1}\r\n")
    framer.next_event()
    with pytest.raises(RuntimeError):
        framer.next_event()
    with pytest.raises(RuntimeError):
        framer.expect_line()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"DONE\r\n", [ContinuationLine(b"DONE")], id="line"),
        pytest.param(b"\r\n", [ContinuationLine(b"")], id="empty-line"),
        pytest.param(b"x{3+}\r\nb NOOP\r\n", [ContinuationLine(b"x{3+}"), ready("b", "NOOP", b"")], id="no-literals"),
        pytest.param(
            b"x" * 41 + b"{3+}\r\nb NOOP\r\n",
            [Malformed(None, "Command line too long"), ready("b", "NOOP", b"")],
            id="too-long",
        ),
        pytest.param(
            b"\0\r\nb NOOP\r\n", [Malformed(None, "NUL or bare CR in a command line"), ready("b", "NOOP", b"")]
        ),
        pytest.param(
            b"DONE\nc NOOP\r\nb NOOP\r\n",
            [Malformed(None, "Lines end with CRLF"), ready("b", "NOOP", b"")],
            id="bare-lf",
        ),
    ],
)
def test_expected_line(data: bytes, expected: list[Event]) -> None:
    framer = Framer(SMALL)
    framer.feed(b"a IDLE\r\n" + data)
    assert framer.next_event() == ready("a", "IDLE", b"")
    framer.expect_line()
    found = []
    while (event := framer.next_event()) is not None:
        found.append(event)
    assert found == expected


def test_discard_drops_everything_and_starts_anew() -> None:
    framer = Framer(SMALL)
    framer.feed(b"a STARTTLS\r\nb LOGIN x y\r\n")
    assert framer.next_event() == ready("a", "STARTTLS", b"")
    framer.discard()
    assert framer.next_event() is None
    framer.feed(b"c NOOP\r\n")
    assert framer.next_event() == ready("c", "NOOP", b"")


def test_limits_may_grow_after_login() -> None:
    framer = Framer(SMALL)
    framer.limits = FramerLimits()
    framer.feed(b"a X " + b"x" * 60_000 + b"\r\n")
    assert framer.next_event() == ready("a", "X", b" " + b"x" * 60_000)


def test_before_login_lines_and_literals_together_are_small() -> None:
    """H3: 8 KiB together."""
    framer = Framer()
    framer.feed(b"a LOGIN {4096+}\r\n" + b"x" * 4096 + b" {4096+}\r\n")
    assert isinstance(framer.next_event(), LiteralAnnounced)
    framer.accept_literal()
    announced = framer.next_event()
    assert isinstance(announced, LiteralAnnounced)
    assert not announced.within_limits
