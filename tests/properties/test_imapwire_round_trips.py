"""value -> octets -> value, and octets -> value -> octets."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from duckmail.mime.section import SectionPart
from protocols.imap.wire import response, utf7
from protocols.imap.wire.fetch import BodySection, fetch_items
from protocols.imap.wire.framer import AFTER_LOGIN, CommandReady, Framer, LiteralAnnounced
from protocols.imap.wire.parser import ParseError, Parser
from protocols.imap.wire.sequence import STAR, SequenceSet

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def argument(octets: bytes, utf8: bool = False) -> Parser:
    """A parser behind the SP in front of the only argument, after the octets went through the framer."""
    framer = Framer(AFTER_LOGIN)
    framer.feed(b"a X " + octets + b"\r\n")
    while True:
        event = framer.next_event()
        if isinstance(event, LiteralAnnounced):
            framer.accept_literal()
            continue
        assert isinstance(event, CommandReady)
        parser = Parser(event.command.parts, utf8)
        parser.sp()
        return parser


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=1100) | NAMES.map(str.encode), utf8=st.booleans())
def test_strings(data: bytes, utf8: bool) -> None:
    assume(b"\0" not in data)  # no string of the grammar holds it
    for parser in (
        argument(response.quoted_or_literal(data, utf8)),
        argument(response.astring(data, utf8)),
        argument(response.literal(data)),
    ):
        assert parser.astring() == data
        parser.end()
    parser = argument(response.nstring(data, utf8))
    assert parser.nstring() == data
    parser.end()


@settings(max_examples=100, deadline=None)
@given(name=NAMES, utf8=st.booleans())
def test_mailbox_names(name: str, utf8: bool) -> None:
    assume(not utf8 or "\0" not in name)
    assume(not name.upper().startswith("INBOX"))
    parser = argument(response.mailbox_name(name, utf8), utf8)
    assert parser.mailbox() == name
    parser.end()
    pattern = argument(response.mailbox_name(name, utf8), utf8)
    assert pattern.list_mailbox() == name


@settings(max_examples=100, deadline=None)
@given(name=NAMES)
def test_utf7_of_a_name(name: str) -> None:
    octets = utf7.encode(name)
    assert utf7.decode(octets) == name
    assert all(0x20 <= octet < 0x7F for octet in octets)


@settings(max_examples=200, deadline=None)
@given(
    octets=st.lists(st.sampled_from([b"&", b"-", b"&-", b"a", b"AOQ", b"A", b",", b"2D3eAA", b"&AOQ-"])).map(b"".join)
)
def test_utf7_of_octets(octets: bytes) -> None:
    try:
        name = utf7.decode(octets)
    except utf7.Utf7Error:
        return
    assert utf7.encode(name) == octets


NUMBERS = st.integers(1, (1 << 32) - 1)
SETS = st.lists(st.tuples(NUMBERS | st.just(STAR), NUMBERS | st.just(STAR)) | NUMBERS.map(lambda n: (n, n)), min_size=1)


@settings(max_examples=100, deadline=None)
@given(pairs=SETS)
def test_sequence_sets(pairs: list[tuple[int, int]]) -> None:
    written = SequenceSet(tuple(pairs))
    parser = argument(bytes(written))
    assert parser.sequence_set() == written
    parser.end()


@settings(max_examples=100, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=6),
    largest=st.integers(1, 12),
)
def test_resolved_sets_hold_what_the_members_mean(pairs: list[tuple[int, int]], largest: int) -> None:
    expected: set[int] = set()
    for first, last in pairs:
        low, high = sorted((first or largest, last or largest))
        expected |= set(range(low, high + 1))
    resolved = SequenceSet(tuple(pairs)).resolve(largest)
    assert list(resolved) == sorted(expected)
    assert SequenceSet.parse(response.sequence_set(resolved)).resolve(1) == resolved


ZONES = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@settings(max_examples=100, deadline=None)
@given(moment=st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=ZONES))  # noqa: DTZ001
def test_dates(moment: datetime) -> None:
    parser = argument(response.internal_date(moment))
    read = parser.date_time()
    parser.end()
    assert read == moment.replace(microsecond=0)
    assert read.utcoffset() == moment.utcoffset()
    assert read.astimezone(UTC) == read


FIELDS = st.lists(st.binary(min_size=1, max_size=8).filter(lambda name: b"\0" not in name), max_size=3).map(tuple)


@settings(max_examples=100, deadline=None)
@given(
    path=st.lists(st.integers(1, 400), max_size=5).map(tuple),
    part=st.sampled_from(SectionPart),
    fields=FIELDS,
    invert=st.booleans(),
    partial=st.none() | st.tuples(st.integers(0, 1 << 62), st.integers(1, 1 << 62)),
)
def test_section_names(
    path: tuple[int, ...],
    part: SectionPart,
    fields: tuple[bytes, ...],
    invert: bool,
    partial: tuple[int, int] | None,
) -> None:
    assume(path or part is not SectionPart.MIME)
    wanted = fields if part is SectionPart.HEADER else ()
    item = BodySection(path, part, wanted, invert and bool(wanted), partial)
    count = b"" if partial is None else b".%d>" % partial[1]
    name = item.response_name()
    request = name if partial is None else name.removesuffix(b">") + count
    assert fetch_items(argument(request)) == (item,)


@settings(max_examples=200, deadline=None)
@given(octets=st.binary(max_size=30).filter(lambda octets: not set(octets) & set(b"\r\n\0") and octets[-1:] != b"}"))
def test_octets_that_read_as_a_string_are_written_so_that_they_read_the_same(octets: bytes) -> None:
    parser = argument(octets)
    try:
        value = parser.astring()
    except ParseError:
        return
    assert argument(response.astring(value)).astring() == value


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=50))
def test_no_text_ends_its_line(text: str) -> None:
    octets = response.resp_text(text)
    assert octets
    assert all(0x20 <= octet < 0x7F for octet in octets)
    assert not octets.startswith(b"[")
