"""A message's text as a reader shows it, the type a BODYSTRUCTURE begins with, and encodings undone piece by piece."""

import base64
import quopri

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duckmail.mime.display import MAX_HTML, MAX_TEXT, display, link_parts, rendered
from duckmail.mime.message import Message
from duckmail.mime.scan import scan
from duckmail.mime.structure import bodystructure, content_type
from duckmail.mime.transfer import Decoder, decoded


def _shown(raw: bytes) -> tuple[str, list[str]]:
    message = Message(raw)
    found = display(message, scan(message))
    return found.text, found.html


def _multipart(subtype: str, *parts: str) -> str:
    body = "".join(f"--{subtype}\r\n{part}\r\n" for part in parts)
    return f"Content-Type: multipart/{subtype}; boundary={subtype}\r\n\r\n{body}--{subtype}--\r\n"


PLAIN = "Content-Type: text/plain\r\n\r\nplain <words>"
HTML = "Content-Type: text/html\r\n\r\n<p>rich &amp; <b>bold</b></p>"
FILE = "Content-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\nin a file"


@pytest.mark.parametrize(
    ("raw", "text", "html"),
    [
        pytest.param(PLAIN, "plain <words>", ["<p>plain &lt;words&gt;</p>"], id="plain"),
        pytest.param(HTML, "rich & bold", ["<p>rich &amp; <b>bold</b></p>"], id="html"),
        pytest.param("\r\n\r\n", "", [], id="nothing"),
        pytest.param(_multipart("alternative", PLAIN, HTML), "plain <words>", [HTML[27:]], id="alternative"),
        pytest.param(
            _multipart("mixed", PLAIN, HTML, FILE),
            "plain <words>\nrich & bold",
            ["<p>plain &lt;words&gt;</p>", HTML[27:]],
            id="mixed",
        ),
        pytest.param(
            _multipart("mixed", _multipart("alternative", PLAIN, _multipart("related", HTML)), PLAIN),
            "plain <words>\nplain <words>",
            [HTML[27:], "<p>plain &lt;words&gt;</p>"],
            id="nested",
        ),
        pytest.param(
            _multipart("mixed", f"Content-Type: message/rfc822\r\n\r\n{PLAIN}"),
            "",
            [],
            id="embedded-messages-are-files",
        ),
    ],
)
def test_shown(raw: str, text: str, html: list[str]) -> None:
    assert _shown(raw.encode()) == (text, html)


def test_long_texts_are_cut() -> None:
    text, html = _shown(b"Content-Type: text/html\r\n\r\n" + b"<b>x</b>" * 500_000)
    assert (len(text), sum(map(len, html))) == (MAX_HTML // 8, MAX_HTML)
    text, _ = _shown(b"\r\n" + b"x" * 500_000)
    assert len(text) == MAX_TEXT


def test_deep_messages_are_shown() -> None:
    raw = "".join(f"Content-Type: multipart/mixed; boundary=b{depth}\r\n\r\n--b{depth}\r\n" for depth in range(500))
    assert _shown((raw + PLAIN).encode())[0] in ("plain <words>", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("hi", "<p>hi</p>", id="line"),
        pytest.param("a\nb\n\n\nc", "<p>a<br/>\nb</p><p>c</p>", id="paragraphs"),
        pytest.param("<script>&", "<p>&lt;script&gt;&amp;</p>", id="escaped"),
    ],
)
def test_rendered(text: str, expected: str) -> None:
    assert rendered(text) == expected


def test_links_to_parts() -> None:
    source = "<img src='cid:a@b'><img src=\"CID:x\"><p style='background:url(cid:a@b)'>acid:a@b cid:a@b</p>"
    linked = link_parts(source, {"a@b": "1"}, lambda each: f"part:{each}")
    assert linked == "<img src='part:1'><img src=\"CID:x\"><p style='background:url(part:1)'>acid:a@b part:1</p>"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param("text/html; charset=utf-8", ("text/html", {"charset": "utf-8"}), id="plain"),
        pytest.param("", ("text/plain", {"charset": "us-ascii"}), id="none"),
        pytest.param('image/png; name="a\\"b.png"', ("image/png", {"name": 'a"b.png'}), id="quoted"),
        pytest.param("text/plain; name*=utf-8''%C3%A4.txt", ("text/plain", {"name": "ä.txt"}), id="extended"),
        pytest.param("multipart/mixed; boundary=x", ("multipart/mixed", {"boundary": "x"}), id="multipart"),
    ],
)
def test_content_type_out_of_a_structure(header: str, expected: tuple[str, dict[str, str]]) -> None:
    body = '--x\r\nContent-Type: text/plain; name="("\r\n\r\n(\r\n--x\r\n\r\n\r\n--x--\r\n'
    message = Message((f"Content-Type: {header}\r\n\r\n{body}" if header else f"\r\n{body}").encode())
    assert content_type(bodystructure(message, scan(message))) == expected


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=2000), st.sampled_from(["base64", "quoted-printable", "8bit"]), st.integers(1, 100))
def test_any_cut_undoes_the_same(octets: bytes, encoding: str, size: int) -> None:
    encoded = octets
    if encoding == "base64":
        encoded = base64.encodebytes(octets).replace(b"\n", b"\r\n")
    elif encoding == "quoted-printable":
        encoded = quopri.encodestring(octets)
    decoder = Decoder(encoding)
    pieces = [decoder.feed(encoded[at : at + size]) for at in range(0, len(encoded), size)]
    assert b"".join([*pieces, decoder.finish()]) == b"".join(decoded(encoded, 0, len(encoded), encoding))


def test_a_line_without_an_end_is_not_gathered() -> None:
    decoder = Decoder("quoted-printable")
    out = b"".join(decoder.feed(b"=41x" * 25_000) for _ in range(4)) + decoder.finish()
    assert out == b"Ax" * 100_000
