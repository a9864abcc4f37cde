"""What is done faster for the common case gives what the general way gives."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from duckmail.mime import charsets, parameters
from duckmail.mime.header import _CONTROL, Lookup, decode, decode_words, fields, select_fields, unfold
from duckmail.mime.html import collapse, html_text
from duckmail.mime.message import Message
from duckmail.mime.scan import scan
from duckmail.mime.summary import _any_date, _usual_date, parse_date
from duckmail.mime.text import preview

# More than a listed block has: all fields behind it are of one other name.
PADDING = b"".join(b"Padding-%d: %b\r\n" % (number, b"x" * 60) for number in range(300))
NAMES = (b"from", b"to", b"subject", b"content-type", b"x")

lines = st.sampled_from(
    (
        b"From: a@b.c\r\n",
        b"FROM : d@e.f\n",
        b"From d@e.f Mon\r\n",
        b"from\t:\r\n",
        b"To: g@h.i,\r\n\tj@k.l\r\n",
        b" folded\r\n",
        b"\tTo: folded\n",
        b"Subject:\r\n",
        b"Subject: one\r two\r\n",
        b"subject-not: three\n",
        b"Content-Type: text/plain\r\n; charset=x\r\n",
        b"no field\r\n",
        b": nothing\r\n",
        b"X:X:X\n",
        b"\xff: y\r\n",
        b"\r\n",
        b"\n",
    )
)


@given(st.lists(lines, max_size=12).map(b"".join))
def test_listed_fields_are_those_that_a_search_finds(block: bytes) -> None:
    short, long = Lookup(block), Lookup(block + b"\n" + PADDING)
    for name in NAMES:
        assert short.all(name) == long.all(name) == [each.value for each in fields(block) if each.name.lower() == name]
        assert short.first(name) == long.first(name)
        assert len(list(short.spans(name))) == len(short.all(name))
    wanted = frozenset(NAMES)
    found = select_fields(block + b"\n" + PADDING, wanted, invert=False)
    assert found == select_fields(block + b"\nY: a short block\r\n", wanted, invert=False)


types = st.lists(
    st.sampled_from(
        (
            *(b"text/plain", b"multipart/mixed", b"TEXT/html", b"text", b"charset=", b"boundary=", b"Name=", b"name*="),
            *(
                b";",
                b"; ",
                b";\t",
                b'"',
                b"utf-8",
                b"a b",
                b"=_x?",
                b"(c)",
                b"\\",
                b",",
                b"=",
                b"\xe4",
                b"''%41",
                b"\n",
            ),
        )
    ),
    max_size=8,
)


@settings(max_examples=1000)
@given(types.map(b"".join))
@example(b'multipart/mixed; boundary="=_x?y z"')
@example(b'text/plain; charset=""')
@example(b"text/plain;charset=utf-8")
def test_a_usual_media_type_is_read_as_any(value: bytes) -> None:
    assert parameters._media_type(value) == parameters._any_media_type(value)


@given(st.lists(st.sampled_from((b" ", b"\t", b"\r", b"\n", b"\r\n", b"a")), max_size=12).map(b"".join))
def test_an_unfolded_body_is_without_line_ends_and_outer_blanks(body: bytes) -> None:
    assert unfold(body) == body.replace(b"\r\n", b"").replace(b"\n", b"").strip(b" \t\r")


@given(
    st.lists(st.sampled_from((b"plain text", b"=?utf-8?q?=C3=A4?=", b"\t", b"\0", b"\x7f", b"\xe4", b"=")), max_size=5)
)
def test_plain_text_decodes_as_any(pieces: list[bytes]) -> None:
    value = b" ".join(pieces)
    assert decode(value) == _CONTROL.sub(" ", decode_words(value))


dates = st.builds(
    "{}{} {} {} {}:{}:{} {}{}".format,
    st.sampled_from(("Mon, ", "Xyz, ", "")),
    st.sampled_from(("1", "09", "29", "31", "32", "0", "00")),
    st.sampled_from(("Jan", "Feb", "Apr", "Dec", "dec")),
    st.sampled_from(("1000", "1999", "2000", "2026", "2999", "99", "0070")),
    st.sampled_from(("00", "23", "24", "9")),
    st.sampled_from(("00", "59", "60")),
    st.sampled_from(("00", "59", "60", "61", "99")),
    st.sampled_from(("+0000", "-0000", "+0530", "-1200", "+0099", "-9999", "GMT", "+00000")),
    st.sampled_from(("", " (UTC)", " (CEST)", " (utc)", " UTC")),
)


@settings(max_examples=500)
@given(dates)
def test_a_usual_date_is_read_as_any(date: str) -> None:
    usual = _usual_date(date.encode())
    assert usual is None or usual == _any_date(date.encode())


def test_the_date_that_mailers_write_is_a_usual_one() -> None:
    written = b"Mon, 02 Mar 2026 08:00:37 -0230"
    assert _usual_date(written) == (2026, 3, 2, 8, 0, 37, -9000)
    moment, _ = parse_date(written)
    assert moment is not None
    assert moment.isoformat() == "2026-03-02T10:30:37+00:00"


def test_charsets_that_extend_ascii_do() -> None:
    ascii_octets = bytes(range(128))
    for charset in filter(charsets.extends_ascii, charsets._CODECS):
        assert charsets.decode(ascii_octets, charset) == ascii_octets.decode("ascii")
        assert charsets.decoder(charset).decode(ascii_octets, True) == ascii_octets.decode("ascii")
    assert not charsets.extends_ascii("utf-7")
    assert not charsets.extends_ascii("iso-2022-jp")


def test_headers_of_a_message_are_listed_once() -> None:
    raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nSubject: inner\r\n\r\n--b--\r\n"
    message = Message(raw)
    index = scan(message)
    assert [message.header(node).first(b"subject") for node in index.nodes] == [None, b"inner"]
    assert message.header(index.nodes[1]) is message.header(index.nodes[1])


words = st.sampled_from(
    (
        "word",
        " ",
        "\n",
        "<p>",
        "</p>",
        "<b class='x'>",
        "&amp;",
        "&CounterClockwiseContourIntegral;",
        "&#8364;",
        "é",
        "<",
    )
)


@settings(max_examples=200)
@given(st.lists(words, max_size=10), st.sampled_from((256, 1024)), st.integers(0, 44), st.integers(-64, 16))
def test_a_preview_is_the_beginning_of_the_whole_text(pieces: list[str], look: int, before: int, more: int) -> None:
    # `pieces` stand where one of the first, short looks at the source ends.
    length = look + more
    text = "x" * (look - before) + "".join(pieces) + "end " * 100
    raw = b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + text.encode()
    whole = collapse(html_text(text))
    assert preview(raw, scan(raw), length) == (whole if len(whole) <= length else whole[:length].rstrip() + "…")


@settings(max_examples=200)
@given(st.lists(words, max_size=400), st.sampled_from((128, 1000)))
def test_a_preview_of_little_text_looks_at_all_of_it(pieces: list[str], length: int) -> None:
    text = "".join(pieces)
    raw = b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + text.encode()
    whole = collapse(html_text(text))
    assert preview(raw, scan(raw), length) == (whole if len(whole) <= length else whole[:length].rstrip() + "…")
