"""base64 is stored decoded only when the octets come back as they were, whole and in any range."""

import base64
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.blobs import framing
from storage.blobs.framing import Core, Encoder, Framing, decoded_pieces, find_core, span


def encode(octets: bytes, line: int, newline: bytes) -> bytes:
    """An independent encoder: the standard library's, cut by slices."""
    text = base64.b64encode(octets)
    return newline.join(text[at : at + line] for at in range(0, len(text), line)) if line else text


def rebuild(core: Core, decoded: bytes, start: int, stop: int, cut: int) -> bytes:
    part = span(core.framing, core.length, start, stop)
    fed = decoded[part.start : part.stop]
    text = b"".join(part.encoder.feed(fed[at : at + cut]) for at in range(0, len(fed), cut)) + part.encoder.finish()
    return text[part.skip : part.skip + stop - start]


@settings(max_examples=300)
@given(
    octets=st.binary(min_size=1, max_size=700),
    line=st.sampled_from([0, 1, 2, 3, 4, 5, 60, 64, 72, 75, 76, 77, 998]),
    newline=st.sampled_from([b"\r\n", b"\n"]),
    before=st.sampled_from([b"", b"\r\n", b"\n\n"]),
    after=st.sampled_from([b"", b"\r\n", b"\n", b"\r\n\r\n", b"  \r\n", b"\t"]),
    data=st.data(),
)
def test_regular_base64_is_found_and_any_range_comes_back(
    octets: bytes, line: int, newline: bytes, before: bytes, after: bytes, data: st.DataObject
) -> None:
    text = encode(octets, line, newline)
    raw = b"Head\r\n" + before + text + after + b"--next"
    core = find_core(raw, 6, 6 + len(before + text + after))
    assert core is not None
    assert raw[core.start : core.stop] == text
    decoded = b"".join(decoded_pieces(raw, core.start, core.stop, core.framing))
    assert decoded == octets
    assert core.length == len(octets)
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, len(text)))
    cut = data.draw(st.integers(1, 200))
    assert rebuild(core, decoded, start, stop, cut) == text[start:stop]


@pytest.mark.parametrize("kind", [bytes, bytearray])
@pytest.mark.parametrize(("line", "newline"), [(76, b"\r\n"), (72, b"\n"), (75, b"\r\n"), (998, b"\n"), (0, b"")])
def test_many_chunks(line: int, newline: bytes, kind: type[bytes] | type[bytearray]) -> None:
    octets = random.Random(line).randbytes(framing.CHUNK * 3 + 11)
    text = kind(encode(octets, line, newline))
    core = find_core(text, 0, len(text))
    assert core is not None
    assert core.length == len(octets)
    decoded = list(decoded_pieces(text, 0, len(text), core.framing))
    assert [len(piece) for piece in decoded] == [framing.CHUNK] * 3 + [11]
    assert b"".join(decoded) == octets
    for start, stop in [(0, len(text)), (77, 700_001), (len(text) - 5, len(text)), (400_000, 400_001)]:
        assert rebuild(core, octets, start, stop, framing.CHUNK) == text[start:stop]


# Each decodes, but would not come back as it was.
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"QUJD\r\nQUJ\r\nQUJD", id="short-line-in-the-middle"),
        pytest.param(b"QUJD\r\nQUJD\nQUJD", id="mixed-line-ends"),
        pytest.param(b"QUJD\r\nQUJDQUJD", id="longer-line"),
        pytest.param(b"QUJD\r\n\r\nQUJD", id="empty-line-inside"),
        pytest.param(b"QUJD\r\nQQ==\r\nQUJD", id="padding-inside"),
        pytest.param(b"QUJDQR==", id="bits-set-in-the-padding"),
        pytest.param(b"QUJDQQ", id="no-padding"),
        pytest.param(b"QUJDQ===", id="too-much-padding"),
        pytest.param(b"QUJD\r\nQU*D", id="foreign-character"),
        pytest.param(b"QUJD \r\nQUJD", id="trailing-blank-on-a-line"),
        pytest.param(b"QUJD\x0c\r\nQUJD", id="form-feed"),
        pytest.param(b"QUJD-_-_", id="url-safe-alphabet"),
        pytest.param(b"QUJD\xff\xff\xff\xff", id="eight-bit"),
        pytest.param(b"QUJD\rQUJD", id="bare-cr"),
        pytest.param(b"====", id="padding-only"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\r\n\r\n", id="line-ends-only"),
        pytest.param(b"A" * 999 + b"\r\n" + b"A" * 5, id="line-too-long"),
    ],
)
def test_irregular_base64_is_left_alone(text: bytes) -> None:
    assert find_core(text, 0, len(text)) is None


@given(text=st.lists(st.sampled_from([b"QUJD", b"QQ==", b"Q", b"\r\n", b"\n", b"=", b" ", b"*"]), max_size=30))
def test_whatever_is_found_comes_back(text: list[bytes]) -> None:
    raw = b"".join(text)
    core = find_core(raw, 0, len(raw))
    if core is not None:
        decoded = b"".join(decoded_pieces(raw, core.start, core.stop, core.framing))
        encoder = Encoder(core.framing)
        assert encoder.feed(decoded) + encoder.finish() == raw[core.start : core.stop]


@given(line=st.integers(1, 30), eol=st.sampled_from([1, 2]), characters=st.integers(0, 200), length=st.integers(0, 400))
def test_positions(line: int, eol: int, characters: int, length: int) -> None:
    layout = Framing(line, eol)
    full = layout.newline.join([b"x" * line] * 400)
    assert full[: layout.offset(characters)].count(b"x") == characters
    assert layout.characters(length) == full[:length].count(b"x")
