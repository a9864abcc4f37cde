"""Messages made of parts, as Python's `email` reads them; no text gets out of the field or part it belongs into."""

import email
import email.policy
import re
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duckmail.mime import fields
from duckmail.mime.compose import Letter, Part, build, media_type, plain_text
from duckmail.mime.outgoing import Malformed, read

PNG = "iVBORw0KGgo="


def _parsed(raw: bytes | bytearray) -> EmailMessage:
    found = email.message_from_bytes(bytes(raw), policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


def _letter(text: str = "", html: str = "", *parts: Part) -> EmailMessage:
    raw = build(Letter([fields.unstructured("Subject", "s")], text, html, parts))
    assert b"\0" not in raw
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", raw)
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    read(raw)
    return _parsed(raw)


def _content(part: EmailMessage) -> str | bytes:
    found = part.get_content()
    return found.replace("\r\n", "\n") if isinstance(found, str) else found


def _shape(message: EmailMessage) -> str:
    if not message.is_multipart() or message.get_content_type() == "message/rfc822":
        return message.get_content_type()
    inner = ", ".join(_shape(part) for part in message.iter_parts())  # type: ignore[arg-type]
    return f"{message.get_content_subtype()}({inner})"


@pytest.mark.parametrize(
    ("text", "html", "parts", "shape"),
    [
        pytest.param("", "", [], "text/plain", id="nothing"),
        pytest.param("a", "", [], "text/plain", id="text"),
        pytest.param("a", "<p>a</p>", [], "alternative(text/plain, text/html)", id="both"),
        pytest.param("", "<p>a</p>", [], "alternative(text/plain, text/html)", id="text-is-made-of-html"),
        pytest.param("", "<img>", [], "text/html", id="html-without-text"),
        pytest.param("a", "", [Part(b"x")], "mixed(text/plain, application/octet-stream)", id="attachment"),
        pytest.param(
            "a",
            '<img src="cid:i">',
            [Part(b"x", "image/png", cid="i"), Part(b"y", "a/b")],
            "mixed(alternative(text/plain, related(text/html, image/png)), a/b)",
            id="related",
        ),
        pytest.param(
            "a", "<p>", [Part(b"x", "a/b", cid="<i>", inline=True)],
            "alternative(text/plain, related(text/html, a/b))", id="inline",
        ),
        pytest.param("a", "", [Part(b"x", "a/b", cid="i", inline=True)], "mixed(text/plain, a/b)", id="inline-text"),
        pytest.param("a", "<p>", [Part(b"x", "a/b", cid="i")], "mixed(alternative(text/plain, text/html), a/b)",
                     id="cid-not-named"),
        pytest.param(
            "a", f'<img src="data:image/png;base64,{PNG}">', [],
            "alternative(text/plain, related(text/html, image/png))", id="data-url",
        ),
    ],
)  # fmt: skip
def test_shapes(text: str, html: str, parts: list[Part], shape: str) -> None:
    assert _shape(_letter(text, html, *parts)) == shape


def test_an_image_in_the_html_becomes_a_part() -> None:
    message = _letter("", f"<p>a<IMG Src = 'data:image/png;base64,{PNG[:6]} \n{PNG[6:]}'><img src=\"data:x\"></p>")
    body, image = (part for part in message.walk() if part.get_content_type() in ("text/html", "image/png"))
    assert isinstance(body, EmailMessage)
    assert isinstance(image, EmailMessage)
    assert image.get_content() == b"\x89PNG\r\n\x1a\n"
    cid = str(image["Content-ID"]).strip("<>")
    assert f"Src = 'cid:{cid}'" in body.get_content()
    assert 'src="data:x"' in body.get_content()
    assert (image.get_filename(), image.get_content_disposition()) == ("image-1.png", "inline")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        pytest.param("plain\nlines\n", "7bit", id="ascii"),
        pytest.param("gr\u00fcn is the colour of it\n" * 3, "quoted-printable", id="few-signs"),
        pytest.param("\u65e5\u672c\u8a9e\n" * 3, "base64", id="other-script"),
        pytest.param("x" * 1200 + "\n", "quoted-printable", id="long-line"),
        pytest.param(".\n..\nFrom me\n \n--\n", "7bit", id="dots"),
        pytest.param("e\u0301 " * 300 + "\n", "quoted-printable", id="long-line-with-signs"),
    ],
)
def test_text_is_encoded_as_it_needs(text: str, encoding: str) -> None:
    message = _letter(text)
    assert (_content(message), message["Content-Transfer-Encoding"]) == (text, encoding)
    assert message.get_content_charset() == "utf-8"


def test_line_ends_and_nul() -> None:
    assert _content(_letter("a\rb\r\nc\0d")) == "a\nb\ncd\n"


@given(st.text(max_size=200), st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_text_comes_back(text: str, html: str) -> None:
    def lines(value: str) -> list[str]:
        value = value.encode("utf-8", "replace").decode().replace("\0", "")
        return value.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")

    message = _letter(text, f"<p>{html}")
    assert lines(message.get_body(("html",)).get_content()) == lines(f"<p>{html}")  # type: ignore[union-attr]
    if text:
        assert lines(message.get_body(("plain",)).get_content()) == lines(text)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("part", "kind", "encoding", "content"),
    [
        pytest.param(Part(bytes(range(256)), "image/png"), "image/png", "base64", bytes(range(256)), id="octets"),
        pytest.param(Part(b"", "image/x"), "image/x", "base64", b"", id="empty"),
        pytest.param(Part(b"x", "nonsense"), "application/octet-stream", "base64", b"x", id="no-type"),
        pytest.param(Part(b"x", "multipart/mixed; boundary=b"), "application/octet-stream", "base64", b"x", id="multi"),
        pytest.param(Part(b"x", "a/b\r\nX: y"), "application/octet-stream", "base64", b"x", id="injection"),
        pytest.param(Part(b"a\nb", "text/csv", encoding="7bit"), "text/csv", "7bit", "a\nb", id="7bit"),
        pytest.param(Part(b"\xff", "text/csv; charset=latin1", encoding="7bit"), "text/csv", "base64", "\xff",
                     id="7bit-impossible"),
        pytest.param(Part(b"\xff\n", "text/csv; charset=latin1", encoding="Quoted-Printable"), "text/csv",
                     "quoted-printable", "\xff\n", id="quoted-printable"),
        pytest.param(Part(b"x", "image/x", encoding="8bit\r\nX: y"), "image/x", "base64", b"x", id="no-encoding"),
    ],
)  # fmt: skip
def test_attachments(part: Part, kind: str, encoding: str, content: bytes | str) -> None:
    (found,) = list(_letter("a", "", part).iter_attachments())
    assert isinstance(found, EmailMessage)
    assert (found.get_content_type(), found["Content-Transfer-Encoding"]) == (kind, encoding)
    assert _content(found) == content
    assert found["X"] is None


def test_an_attached_message_is_not_encoded() -> None:
    inner = b"Subject: inner\n\ngr\xc3\xbcn\n"
    (found,) = list(_letter("a", "", Part(inner, "message/rfc822", "a.eml")).iter_attachments())
    assert (found.get_content_type(), found["Content-Transfer-Encoding"]) == ("message/rfc822", "8bit")
    assert found.get_payload(0)["Subject"] == "inner"  # type: ignore[union-attr, call-overload]
    (found,) = list(_letter("a", "", Part(inner + b"x" * 2000, "message/rfc822")).iter_attachments())
    assert found.get_content_type() == "application/octet-stream"


@pytest.mark.parametrize(
    "filename",
    [
        pytest.param("a.txt", id="plain"),
        pytest.param('a "b" \\ c.txt', id="quotes"),
        pytest.param("gr\u00fcn \u65e5\u672c.txt", id="other-signs"),
        pytest.param("\u65e5\u672c\u8a9e" * 60 + ".txt", id="long"),
        pytest.param("x" * 255, id="long-ascii"),
        pytest.param("=?utf-8?q?x?=", id="encoded-word"),
        pytest.param("a%20b'c*.txt", id="signs-of-rfc-2231"),
    ],
)
def test_file_names(filename: str) -> None:
    (found,) = list(_letter("a", "", Part(b"x", "a/b", filename)).iter_attachments())
    assert found.get_filename() == filename


_NASTY = st.text(st.sampled_from("a \"\\;:=?<>@,\r\n\t\0%'()\u00fc\u2028\ud800"), max_size=60)


@given(_NASTY, _NASTY, _NASTY, _NASTY)
@settings(max_examples=100, deadline=None)
def test_nothing_gets_out_of_its_field(subject: str, filename: str, cid: str, kind: str) -> None:
    header = [fields.unstructured("Subject", subject), fields.addresses("To", [(subject, "a@b.example")])]
    raw = build(Letter(header, "t", "<p>", [Part(b"x", kind, filename, cid, inline=True)]))
    names = [field.name for field in read(raw).fields]
    assert names == [b"subject", b"to", b"mime-version", b"content-type"]
    message = _parsed(raw)
    assert [each.addr_spec for each in message["To"].addresses] == ["a@b.example"]
    allowed = {"content-type", "content-disposition", "content-transfer-encoding", "content-id"}
    for part in message.walk():
        assert part is message or {name.lower() for name in part.keys()} <= allowed  # noqa: SIM118 -- no mapping


@pytest.mark.parametrize(
    "display", ["", "Anna", "Anna B. C", 'a "b" \\', "J\u00f6rg", "=?utf-8?q?x?=", "x" * 255, "a, b"]
)
def test_names_of_people(display: str) -> None:
    message = _parsed(fields.addresses("To", [(display, "a@b.example"), ("b", "c@d.example")]) + b"\r\n")
    assert [(each.display_name, each.addr_spec) for each in message["To"].addresses] == [
        (display, "a@b.example"),
        ("b", "c@d.example"),
    ]


@pytest.mark.parametrize(
    "address",
    ["", "a", "a@", "@b", "a b@c", "a@b>", "<a@b", "a@b, c@d", "a@b\r\nX: y", "a@b\n", '"a\nb"@c', "a@[b", "a(b)@c"],
)
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(Malformed):
        fields.addresses("To", [("", address)])


@pytest.mark.parametrize("name", ["", "A B", "A:", "A\r\nB", "\u00c4", "x" * 256])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(Malformed):
        fields.unstructured(name, "x")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "short",
        "many words " * 40,
        "\u65e5\u672c\u8a9e" * 100,
        "x" * 5000,
        "a =?utf-8?q?b?= c",
        "a    b",
        "gr\u00fcn\ta",
    ],
)
def test_long_values_are_folded(text: str) -> None:
    lines = fields.unstructured("Subject", text)
    assert all(len(line) <= 998 for line in lines.split(b"\r\n"))
    assert all(line.strip() for line in lines.split(b"\r\n")[:-1])
    assert _parsed(lines + b"\r\n")["Subject"].rstrip() == fields.clean(text)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("Text/Plain", ("text/plain", "")),
        ('text/plain; charset="UTF-8"', ("text/plain", "UTF-8")),
        ("text/plain ; x=y", ("text/plain", "")),
        ("text", ("application/octet-stream", "")),
        ("text/plain x", ("application/octet-stream", "")),
    ],
)
def test_media_types(value: str, found: tuple[str, str]) -> None:
    assert media_type(value) == found


def test_text_of_html() -> None:
    source = "<style>x</style><h1>Hi</h1>\n<p>a\n  b<br>c &amp; d</p><div><div>e</div></div>"
    assert plain_text(source) == "Hi\na b\nc & d\ne"
