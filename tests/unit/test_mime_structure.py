"""ENVELOPE, BODYSTRUCTURE and BODY: strings, limits, the giants. More of what mail gives is in tests/golden."""

import pytest

from duckmail.mime.envelope import MAX_TEXT, envelope, envelope_of
from duckmail.mime.header import Lookup
from duckmail.mime.imapdata import nstring, string
from duckmail.mime.index import MESSAGE, MULTIPART
from duckmail.mime.scan import scan
from duckmail.mime.structure import body, bodystructure, decoded_part, part
from tests.support import mimegrammar
from tests.support.corpus import HEAD, structured


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b"", b'""', id="empty"),
        pytest.param(b"a b", b'"a b"', id="plain"),
        pytest.param(b'"\\', b'"\\"\\\\"', id="escapes"),
        pytest.param(b"\x01\t\x7f", b'"\x01\t\x7f"', id="controls-may-be-quoted"),
        pytest.param(b"a\rb", b"{3}\r\na\rb", id="cr"),
        pytest.param(b"a\nb", b"{3}\r\na\nb", id="lf"),
        pytest.param(b"\xc3\xa4", b"{2}\r\n\xc3\xa4", id="8-bit"),
        pytest.param(b"a\0b", b"{3}\r\na b", id="nul-becomes-a-blank"),
    ],
)
def test_string(value: bytes, expected: bytes) -> None:
    assert string(value) == expected
    assert nstring(value) == expected


def test_nstring_of_none() -> None:
    assert nstring(None) == b"NIL"


def test_every_octet_is_a_string_of_the_grammar() -> None:
    for octet in range(256):
        value = mimegrammar.envelope(b"(NIL " + string(bytes((octet,))) + b" NIL NIL NIL NIL NIL NIL NIL NIL)")
        assert value[1] == (bytes((octet,)) if octet else b" ")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param(b"", [None] * 10, id="nothing"),
        pytest.param(b"Subject:\r\n", [None, b"", *[None] * 8], id="empty-field-is-an-empty-string"),
        pytest.param(b"Subject: a\r\n b\r\n\tc\r\n", [None, b"a b\tc", *[None] * 8], id="unfolded"),
        pytest.param(b"To:\r\nCc: ,\r\nBcc: (x)\r\n", [None] * 10, id="empty-lists-are-nil"),
        pytest.param(b"date: d\r\nMESSAGE-ID: m\r\nIn-Reply-To: i\r\n", [b"d", *[None] * 7, b"i", b"m"], id="texts"),
    ],
)
def test_envelope(header: bytes, expected: list[bytes | None]) -> None:
    assert mimegrammar.envelope(envelope_of(Lookup(header + b"\r\n"))) == expected


def test_sender_and_reply_to_default_to_from() -> None:
    a, b, c = ([[None, None, name, b"x"]] for name in (b"a", b"b", b"c"))
    assert mimegrammar.envelope(envelope_of(Lookup(b"From: a@x\r\n")))[2:5] == [a, a, a]
    assert mimegrammar.envelope(envelope_of(Lookup(b"From: a@x\r\nSender: b@x\r\n")))[2:5] == [a, b, a]
    assert mimegrammar.envelope(envelope_of(Lookup(b"From: a@x\r\nReply-To: c@x\r\nSender: \r\n")))[2:5] == [a, a, c]
    assert mimegrammar.envelope(envelope_of(Lookup(b"Sender: b@x\r\n")))[2:5] == [None, b, None]


def test_long_text_is_cut() -> None:
    raw = b"Subject: " + b"x" * 1_000_000 + b"\r\n\r\n"
    assert mimegrammar.envelope(envelope(raw, scan(raw)))[1] == b"x" * MAX_TEXT


def test_twenty_thousand_addresses() -> None:
    raw = b"To: " + b",\r\n ".join(b"U %d <u%d@example.com>" % (at, at) for at in range(20_000)) + b"\r\n\r\n"
    found = mimegrammar.envelope(envelope(raw, scan(raw)))[5]
    assert len(found) == 20_000
    assert found[-1] == [b"U 19999", None, b"u19999", b"example.com"]


def test_thousand_parts() -> None:
    part = b"--b\r\nContent-Type: image/png\r\n\r\nx\r\n"
    raw = HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + part * 1000 + b"--b--\r\n"
    structure = bodystructure(raw, scan(raw))
    assert len(mimegrammar.bodystructure(structure)["parts"]) == 1000
    assert len(mimegrammar.body(body(structure))["parts"]) == 1000


def test_literals_are_no_obstacle_for_body() -> None:
    raw = (
        'Content-Type: message/rfc822; name="ä)("\r\nContent-Description: \0(\r\nContent-Location: ö"\r\n'
        'Content-Disposition: x; y="ü)"\r\n\r\nSubject: ) ß ( {3}\r\n\r\n'
    ).encode()
    structure = bodystructure(raw, scan(raw))
    described = mimegrammar.bodystructure(structure)
    assert described["parameters"] == [(b"NAME", "ä)(".encode())]
    assert described["envelope"][1] == ") ß ( {3}".encode()
    assert described["disposition"] == (b"X", [(b"Y", "ü)".encode())])
    assert set(mimegrammar.body(body(structure))) == set(described) - {"md5", "disposition", "language", "location"}


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"NIL", id="nil"),
        pytest.param(b'("TEXT"', id="cut"),
        pytest.param(b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 1 1 NIL NIL NIL NIL) x', id="more"),
        pytest.param(b"(((((", id="open"),
    ],
)
def test_body_of_something_else_is_an_error(value: bytes) -> None:
    with pytest.raises(ValueError, match="not a body structure"):
        body(value)


@pytest.mark.parametrize(
    ("fields", "key", "expected"),
    [
        pytest.param("Content-Language: en", "language", b"en", id="one-language"),
        pytest.param("Content-Language: en, fr (French), de", "language", [b"en", b"fr", b"de"], id="languages"),
        pytest.param("Content-Language: ,", "language", None, id="no-language"),
        pytest.param("Content-Disposition: attachment", "disposition", (b"ATTACHMENT", None), id="disposition"),
        pytest.param("Content-Disposition: ; x=y", "disposition", None, id="no-disposition"),
        pytest.param("Content-Location: a b", "location", b"a b", id="location"),
        pytest.param("Content-MD5: x==", "md5", b"x==", id="md5"),
        pytest.param("Content-ID:", "id", b"", id="empty-id"),
        pytest.param("Content-Description: d", "description", b"d", id="description"),
        pytest.param(f"X: {'x' * 20_000}\r\nContent-Description: d", "description", b"d", id="behind-a-long-field"),
        pytest.param(f"X: {'x' * 20_000}", "description", None, id="nothing-behind-a-long-field"),
        pytest.param("Content-Transfer-Encoding: x-uuencode", "encoding", b"X-UUENCODE", id="unknown-encoding"),
        pytest.param("Content-Transfer-Encoding: \t", "encoding", b"7BIT", id="empty-encoding"),
        pytest.param("Content-Type: text/plain", "parameters", [(b"CHARSET", b"us-ascii")], id="plain-text-default"),
        pytest.param("Content-Type: text/html", "parameters", None, id="no-parameters"),
        pytest.param("Content-Type: a/b; x*=utf-8''%41", "parameters", [(b"X", b"A")], id="extended-but-ascii"),
        pytest.param("Content-Type: a/b; x=1; x*=utf-8''%41", "parameters", [(b"X", b"1")], id="a-name-once"),
        pytest.param(
            "Content-Type: a/b; x*=iso-8859-1'de'%E4%27", "parameters", [(b"X*", b"utf-8'de'%C3%A4%27")], id="extended"
        ),
    ],
)
def test_single_fields(fields: str, key: str, expected: object) -> None:
    raw = fields.encode() + b"\r\n\r\nx"
    described = mimegrammar.bodystructure(bodystructure(raw, scan(raw)))
    assert described.get(key) == expected


@pytest.mark.parametrize("seed", range(20))
def test_part_of_a_structure(seed: int) -> None:
    """Every node is found, behind embedded messages and multiparts with whatever literals."""
    raw = structured(seed)
    index = scan(raw)
    whole = bodystructure(raw, index)
    assert part(whole, index, 0) == whole
    for position, node in enumerate(index.nodes):
        described = part(whole, index, position)
        if node.parent >= 0 and index.nodes[node.parent].kind is MESSAGE:  # as if it had come alone
            inner = raw[node.header_start : node.body_end]
            assert described == bodystructure(inner, scan(inner))
        parsed = mimegrammar.bodystructure(described)
        if node.kind is MULTIPART:
            assert len(parsed["parts"]) == len(index.children(position))
        else:
            assert (parsed["encoding"], parsed["octets"]) == (node.encoding.upper().encode(), node.size)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        pytest.param(b"image/png", b'("IMAGE" "PNG" NIL NIL NIL "BINARY" 7 NIL NIL NIL NIL)', id="octets"),
        pytest.param(b"text/html", b'("TEXT" "HTML" NIL NIL NIL "BINARY" 7 2 NIL NIL NIL NIL)', id="text-has-lines"),
    ],
)
def test_part_without_its_encoding(kind: bytes, expected: bytes) -> None:
    raw = b"Content-Type: " + kind + b"\r\nContent-Transfer-Encoding: base64\r\n\r\nYQpiYmJiYg==\r\n"
    assert decoded_part(bodystructure(raw, scan(raw)), 7, 2) == expected
