"""What is done faster for the common case gives what the general way gives."""

from hypothesis import given, settings
from hypothesis import strategies as st

from duckmail.mime.header import Lookup, fields_of
from duckmail.mime.html import collapse, html_text
from duckmail.mime.scan import scan
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
        end = len(block)
        searched = [(start, body, min(stop, end)) for start, body, stop in long.spans(name)]
        assert list(short.spans(name)) == searched
        assert short.all(name) == long.all(name)
        assert fields_of(block).first(name) == long.first(name)


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
@given(st.lists(words, max_size=10), st.integers(980, 1024), st.integers(960, 1040))
def test_a_preview_is_the_beginning_of_the_whole_text(pieces: list[str], position: int, length: int) -> None:
    # `pieces` stand where the first, short look at the source ends.
    text = "x" * position + "".join(pieces) + "end " * 100
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
