"""What DKIM hashes, against dkimpy and the RFC's own examples."""

import hashlib
from base64 import b64encode
from datetime import UTC, datetime

import pytest
from dkim.canonicalization import Relaxed
from hypothesis import given, settings
from hypothesis import strategies as st

from duckmail.mime.dkim import MAX_SIGNED, BodyHash, Identity, read_header, signature
from duckmail.mime.lineends import LineEnds


def _digest(*pieces: bytes) -> bytes:
    hashed = BodyHash()
    ends = LineEnds()
    for piece in pieces:
        hashed.feed(ends.feed(piece))
    hashed.feed(ends.finish())
    return hashed.digest()


@pytest.mark.parametrize(
    ("body", "canonical"),
    [
        pytest.param(b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n", id="rfc6376-3.4.6"),
        pytest.param(b"", b"", id="rfc6376-3.4.4-empty-body"),
        pytest.param(b"\r\n\r\n", b"", id="nothing-but-empty-lines"),
        pytest.param(b" \t\r\n \r\n", b"", id="nothing-but-blanks"),
        pytest.param(b"\r\n\r\na\r\n", b"\r\n\r\na\r\n", id="empty-lines-at-the-beginning-stay"),
        pytest.param(b"a", b"a\r\n", id="no-end-of-the-last-line"),
        pytest.param(b"a\nb\rc\r\n", b"a\r\nb\r\nc\r\n", id="bare-line-ends-as-they-are-sent"),
        pytest.param(b"a\r\n \t \r\nb  ", b"a\r\n\r\nb\r\n", id="a-line-of-blanks-is-empty"),
    ],
)
def test_relaxed_bodies(body: bytes, canonical: bytes) -> None:
    assert _digest(body) == hashlib.sha256(canonical).digest()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([b"\r\n", b" ", b"\t", b"x", b"yy", b"\r\n\r\n"]), max_size=40), st.data())
def test_any_cut_gives_the_same_as_dkimpy(parts: list[bytes], data: st.DataObject) -> None:
    body = b"".join(parts) + b"\r\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    pieces = [body[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    relaxed = Relaxed.canonicalize_body(body)
    assert _digest(*pieces) == hashlib.sha256(b"" if relaxed == b"\r\n" else relaxed).digest()


def test_a_body_of_empty_lines_costs_no_memory_and_little_time() -> None:
    hashed = BodyHash()
    piece = b"\r\n" * 100_000
    for _ in range(50):
        hashed.feed(piece)
    assert hashed.digest() == hashlib.sha256(b"").digest()


def test_header_is_signed_from_below_and_once_more_than_it_occurs() -> None:
    block = b"Received: x\r\nTo: a\r\nFrom:  A\r\n\t<a@b.example>  \r\nSUBJECT : Hi\t there\r\nTo: b\r\nSender: s\r\n"
    found = read_header(block)
    assert found is not None
    assert found.names[:4] == (b"from", b"from", b"reply-to", b"subject")
    assert (found.names.count(b"to"), found.names.count(b"sender"), found.names.count(b"received")) == (3, 1, 0)
    assert found.relaxed == b"from:A <a@b.example>\r\nsubject:Hi there\r\nto:b\r\nto:a\r\nsender:s\r\n"


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(b"Subject: x\r\n", id="rfc6376-5.4-from-must-be-signed"),
        pytest.param(b"From: a@b.example\r\n" + b"To: x\r\n" * MAX_SIGNED, id="too-many-fields"),
    ],
)
def test_what_cannot_be_signed(block: bytes) -> None:
    assert read_header(block) is None


def test_the_field_is_folded_and_signs_itself_with_an_empty_b() -> None:
    header = read_header(b"From: a@b.example\r\n")
    assert header is not None
    signed: list[bytes] = []

    def sign(octets: bytes) -> bytes:
        signed.append(octets)
        return bytes(256)

    at = datetime(2026, 1, 2, tzinfo=UTC)
    field = signature(Identity("b.example", "s1", "rsa"), header, bytes(32), at, sign)
    assert all(len(line) <= 90 for line in field.split(b"\r\n"))
    assert field.endswith(b"\r\n")
    assert field.replace(b"\r\n\t", b"").rstrip().endswith(b"b=" + b64encode(bytes(256)))
    assert signed[0].startswith(
        b"from:a@b.example\r\ndkim-signature:v=1; a=rsa-sha256; c=relaxed/relaxed; d=b.example;"
    )
    assert signed[0].endswith(b"; b=")
