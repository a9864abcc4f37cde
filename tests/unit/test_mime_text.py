"""Decoded text: transfer encodings, search text, HTML, previews."""

import base64
import time

import pytest

from duckmail.mime.base64 import base64_octets
from duckmail.mime.html import collapse, html_text
from duckmail.mime.scan import scan
from duckmail.mime.text import decoded_header, decoded_text, preview
from duckmail.mime.transfer import PIECE, decoded
from tests.support.corpus import CHARSET_TEXTS, HEAD, charsets


def transferred(raw: bytes, encoding: str) -> bytes:
    return b"".join(decoded(raw, 0, len(raw), encoding))


def text(raw: bytes, limit: int = 10_000_000) -> str:
    return "".join(decoded_text(raw, scan(raw), limit))


@pytest.mark.parametrize(
    ("encoding", "octets", "expected"),
    [
        pytest.param("7bit", b"a=20\r\n", b"a=20\r\n", id="7bit"),
        pytest.param("x-odd", b"a=20\xff", b"a=20\xff", id="unknown"),
        pytest.param("base64", b"YWJj", b"abc", id="base64"),
        pytest.param("base64", b"YW\r\n J!j\r\n", b"abc", id="junk-between-digits"),
        pytest.param("base64", b"YWI", b"ab", id="padding-missing"),
        pytest.param("base64", b"YWJjZ", b"abc", id="six-bits-left"),
        pytest.param("base64", b"YQ==YmM=ZA==", b"abcd", id="padded-runs"),
        pytest.param("base64", b"====", b"", id="only-padding"),
        pytest.param("base64", b"", b"", id="empty"),
        pytest.param("quoted-printable", b"a=3Db=\r\nc=\nd", b"a=bcd", id="quoted-printable"),
        pytest.param("quoted-printable", b"a=zz=4", b"a=zz=4", id="broken-escapes"),
        pytest.param("quoted-printable", "ä=C3=A4".encode(), "ää".encode(), id="8-bit-in-quoted-printable"),
    ],
)
def test_transfer_encodings(encoding: str, octets: bytes, expected: bytes) -> None:
    assert transferred(octets, encoding) == expected


@pytest.mark.parametrize("shift", range(6))
def test_large_bodies_are_decoded_in_pieces(shift: int) -> None:
    octets = bytes(range(256)) * 1000
    for line in (57, 76, 1000):
        digits = base64.b64encode(octets)
        body = b"x" * 0 + b"\r\n" * shift + b"\r\n".join(digits[at : at + line] for at in range(0, len(digits), line))
        pieces = list(decoded(body, 0, len(body), "base64"))
        assert b"".join(pieces) == octets
        assert max(map(len, pieces)) <= PIECE
    quoted = b"x" * shift + b"=C3=A4" * 40_000
    assert transferred(quoted, "quoted-printable") == b"x" * shift + "ä".encode() * 40_000
    quoted = b"x" * shift + b"=C3=A4=\r\n" * 40_000
    assert transferred(quoted, "quoted-printable") == b"x" * shift + "ä".encode() * 40_000


def test_base64_octets() -> None:
    assert base64_octets(b"w6Q") == "ä".encode()
    assert base64_octets(b"=?!") == b""


@pytest.mark.parametrize(("name", "raw"), [pytest.param(name, raw, id=name) for name, raw in charsets()])
def test_every_charset_in_every_encoding_is_found(name: str, raw: bytes) -> None:
    charset = next(charset for charset in sorted(CHARSET_TEXTS, key=len, reverse=True) if f"-{charset}-" in name)
    assert CHARSET_TEXTS[charset] in text(raw)
    assert CHARSET_TEXTS[charset] in decoded_header(raw[: scan(raw).nodes[0].body_start])


def test_search_text_has_part_headers_and_embedded_messages() -> None:
    raw = (
        b"Subject: outer\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\n"
        b"Content-Type: text/html\r\nContent-Disposition: attachment; filename=page.html\r\n\r\n<b>bold</b>\r\n--b\r\n"
        b"Content-Type: message/rfc822\r\n\r\nSubject: =?utf-8?q?=C3=A4?=\r\n inner\r\n\r\ninner text\r\n--b\r\n"
        b"Content-Type: image/png; name=picture.png\r\nContent-Transfer-Encoding: base64\r\n\r\naGlkZGVu\r\n--b--\r\n"
    )
    found = text(raw)
    for word in ("page.html", "<b>bold</b>", "Subject: ä inner", "inner text", "picture.png"):
        assert word in found
    for word in ("outer", "preamble", "hidden", "aGlkZGVu"):
        assert word not in found
    assert "bold</b>\n" in found  # parts are apart


@pytest.mark.parametrize("limit", [0, 1, 5, 100_000, 150_000, 10_000_000])
def test_search_text_is_limited(limit: int) -> None:
    raw = HEAD + b"\r\n" + b"0123456789" * 15_000
    assert text(raw, limit) == ("0123456789" * 15_000 + "\n")[:limit]
    assert max(map(len, decoded_text(raw, scan(raw), limit))) <= PIECE


def test_search_text_cut_inside_a_character() -> None:
    raw = HEAD + b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + ("x" + "ä" * 200_000).encode()
    assert text(raw) == "x" + "ä" * 200_000 + "\n"


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        pytest.param(b"A: b\r\n c\r\nD: e\r\n\r\n", "A: b c\nD: e\n\n", id="unfolded"),
        pytest.param(b"A: =?utf-8?q?b?=\r\nC: =?utf-8?q?d?=\r\n", "A: b\nC: d\n", id="words-of-two-fields-are-apart"),
        pytest.param(b"A: =?utf-8?q?b?=\n =?utf-8?q?c?=\n", "A: bc\n", id="words-over-a-fold-join"),
        pytest.param("A: ä\n".encode(), "A: ä\n", id="raw-utf8"),
        pytest.param(b"", "", id="empty"),
    ],
)
def test_decoded_header(block: bytes, expected: str) -> None:
    assert decoded_header(block) == expected


def test_decoded_header_of_a_megabyte() -> None:
    block = b"To: " + b",\r\n ".join(b"u%d@example.com" % at for at in range(50_000)) + b"\r\n"
    assert decoded_header(block) == block.replace(b"\r\n ", b" ").decode().replace("\r\n", "\n")
    block = b"".join(b"X-%d: =?utf-8?q?=C3=A4?=\r\n y\r\n" % at for at in range(50_000))
    assert decoded_header(block) == "".join(f"X-{at}: ä y\n" for at in range(50_000))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param("<p>a</p><p>b</p>", "a b", id="blocks-are-apart"),
        pytest.param("<b>bo</b>ld", "bold", id="inline-is-not"),
        pytest.param("a<br>b<br/>c", "a b c", id="br"),
        pytest.param("<td>a</td><td>b</td>", "a b", id="cells"),
        pytest.param("a &amp; b&nbsp;&lt;c&gt; &#228;&#xE4;", "a & b <c> ää", id="entities"),
        pytest.param("<style>p { x: y }</style>a<script>if (a < b) {}</script>b", "ab", id="style-and-script"),
        pytest.param("<head><title>T</title></head><body>a", "a", id="title"),
        pytest.param("<STYLE type='x'>y</Style >a", "a", id="case"),
        pytest.param("a<!-- b --><!--[if mso]>c<![endif]-->d", "ad", id="comments"),
        pytest.param("a<style>b", "a", id="style-not-closed"),
        pytest.param("a<!-- b", "a", id="comment-not-closed"),
        pytest.param("a<p", "a", id="tag-not-closed"),
        pytest.param("1 < 2 and 3 > 2", "1 < 2 and 3 > 2", id="less-than"),
        pytest.param("<a href='x>y'>z</a>", "y'>z", id="greater-in-an-attribute"),
        pytest.param("&#" + "9" * 5000 + ";a", "a", id="huge-number"),
        pytest.param("&#0;&#xD800;a", "\ufffd\ufffda", id="no-characters"),
        pytest.param("İ<style>x</style>a", "İa", id="letters-that-grow-in-lower-case"),
        pytest.param("a\u200b\u034f \u00ad\u200cb\ufeff", "a b", id="invisible"),
        pytest.param("", "", id="empty"),
    ],
)
def test_html_text(source: str, expected: str) -> None:
    assert collapse(html_text(source)) == expected


@pytest.mark.parametrize(
    "piece", ["<div>", "<style>", "<!--", "<!--->", "<", "&", "&#9", "<a b='", "</", "&#x", "<p", "-->"]
)
def test_html_text_is_linear(piece: str) -> None:
    """A quadratic reader would take hours for this megabyte."""
    begin = time.process_time()
    html_text(piece * (1_000_000 // len(piece)))
    assert time.process_time() - begin < 30


PLAIN = b"--b\r\nContent-Type: text/plain\r\n\r\nplain  text\r\n"
HTML = b"--b\r\nContent-Type: text/html\r\n\r\n<p>html <b>te</b>xt</p>\r\n"
FORWARD = b"--b\r\nContent-Type: message/rfc822\r\n\r\n\r\nforwarded\r\n"
MULTIPART = b"Content-Type: multipart/alternative; boundary=b\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(b"\r\n one\r\n\ttwo \r\n", "one two", id="plain"),
        pytest.param(MULTIPART + PLAIN + HTML, "html text", id="html-is-preferred"),
        pytest.param(
            MULTIPART + PLAIN + b"--b\r\nContent-Type: text/html\r\n\r\n<img>\r\n", "plain text", id="empty-html"
        ),
        pytest.param(MULTIPART + FORWARD + PLAIN, "plain text", id="not-from-an-embedded-message"),
        pytest.param(MULTIPART + FORWARD, "", id="only-an-embedded-message"),
        pytest.param(b"Content-Type: image/png\r\n\r\nx", "", id="no-text"),
        pytest.param(b"", "", id="empty"),
        pytest.param(b"\r\n" + b"x" * 20, "x" * 20, id="just-fits"),
        pytest.param(b"\r\n" + b"x" * 21, "x" * 20 + "…", id="cut"),
        pytest.param(b"\r\n" + b"x" * 19 + b" yz", "x" * 19 + "…", id="no-blank-before-the-dots"),
        pytest.param(b"Content-Type: text/html\r\n\r\n<style>" + b"x" * 100_000 + b"</style>a", "a", id="long-style"),
    ],
)
def test_preview(raw: bytes, expected: str) -> None:
    assert preview(raw, scan(raw), 20) == expected


def test_attached_text_is_no_preview() -> None:
    attached = b"--b\r\nContent-Type: text/html\r\nContent-Disposition: attachment\r\n\r\nattached\r\n"
    raw = MULTIPART + attached + PLAIN
    assert preview(raw, scan(raw), 20) == "plain text"
