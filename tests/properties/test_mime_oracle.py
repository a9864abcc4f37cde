"""CPython's `email` parser as an oracle: nesting, types and octets of all leaves agree on real mail."""

from email import policy
from email.message import Message
from email.parser import BytesParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duckmail.mime.index import Index, Kind
from duckmail.mime.scan import scan
from tests.support.corpus import corpus, structured

CORPUS = dict(corpus())

# Shape: (media type, octets of a leaf or shapes of the parts)
Shape = tuple[str, "bytes | list[Shape]"]

EXCLUDED = {
    # The parser skips delimiters that follow one another at once; here they are empty parts.
    "cpython-msg_37": "delimiters in a row",
    # It keeps the type of a multipart without a boundary; here it is text/plain (RFC 2045 §5.2).
    "cpython-msg_25": "no boundary parameter",
    "cpython-msg_41": "no boundary parameter",
    # It reads the blocks of these as messages; to IMAP they are body-type-basic (RFC 9051 §9).
    "cpython-msg_05": "message/delivery-status",
    "cpython-msg_16": "message/delivery-status",
    "cpython-msg_43": "message/delivery-status",
    "cpython-msg_36": "message/external-body",
}


def ours(raw: bytes, index: Index, position: int = 0) -> Shape:
    node = index.nodes[position]
    if node.kind is Kind.LEAF:
        return node.media_type, raw[node.body_start : node.body_end]
    return node.media_type, [ours(raw, index, child) for child in index.children(position)]


def theirs(message: Message) -> Shape:
    if message.is_multipart():
        return message.get_content_type(), [theirs(part) for part in message.get_payload()]
    # get_payload() would decode it; this is what was read, octets above 127 as surrogates.
    octets = (message._payload or "").encode("ascii", "surrogateescape")
    if message.get_content_maintype() == "multipart":
        # A multipart in which it found no delimiter: here its body is one part of text. Where the body is nothing but
        # an empty line before an outer delimiter, that line end belongs to the delimiter.
        return message.get_content_type(), [("text/plain", b"" if octets in (b"\n", b"\r\n") else octets)]
    return message.get_content_type(), octets


def parsed(raw: bytes) -> Shape:
    return theirs(BytesParser(policy=policy.compat32).parsebytes(raw))


@pytest.mark.parametrize("name", [name for name in CORPUS if name.removesuffix("-crlf") not in EXCLUDED])
def test_corpus_agrees(name: str) -> None:
    raw = CORPUS[name]
    assert ours(raw, scan(raw)) == parsed(raw)


@given(st.integers(min_value=1000), st.sampled_from([b"\r\n", b"\n"]))
@settings(max_examples=100, deadline=None)
def test_generated_mail_agrees(seed: int, line_end: bytes) -> None:
    raw = structured(seed).replace(b"\r\n", line_end)
    assert ours(raw, scan(raw)) == parsed(raw)


@given(st.integers(min_value=1000), st.data())
@settings(max_examples=100, deadline=None)
def test_cut_mail_agrees(seed: int, data: st.DataObject) -> None:
    """Close delimiters and more are missing. Cut after an empty line, as the parsers differ in what a cut header is,
    and with an unfinished line, as the other takes the last line end off a body that no delimiter ends."""
    raw = structured(seed)
    body = scan(raw).nodes[0].body_start
    cut = raw.find(b"\r\n\r\n", data.draw(st.integers(body, len(raw)))) + 4
    raw = raw[: cut if cut >= 4 else len(raw)] + b"end"
    assert ours(raw, scan(raw)) == parsed(raw)
