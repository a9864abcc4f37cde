"""The scanner: what the golden files do not show (kinds of buffers, limits, time) and the index's compact form."""

import base64
import mmap
import random
import tempfile
import time
from collections.abc import Callable

import pytest

from duckmail.mime import scan as scanner
from duckmail.mime.header import INDEXED
from duckmail.mime.index import Index, Kind, Node
from duckmail.mime.scan import MAX_DEPTH, MAX_PARTS, scan
from duckmail.mime.structure import body, bodystructure
from tests.support import mimegrammar
from tests.support.corpus import HEAD, structured

MIXED = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"


def leaves(raw: bytes) -> list[bytes]:
    return [raw[node.body_start : node.body_end] for node in scan(raw).nodes if node.kind is Kind.LEAF]


def mapped(raw: bytes) -> mmap.mmap:
    with tempfile.TemporaryFile() as file:
        file.write(raw)
        file.flush()
        return mmap.mmap(file.fileno(), len(raw), access=mmap.ACCESS_READ)


@pytest.mark.parametrize(
    "convert",
    [
        pytest.param(bytearray, id="bytearray"),
        pytest.param(memoryview, id="memoryview"),
        pytest.param(lambda raw: memoryview(bytearray(raw)), id="memoryview-of-bytearray"),
        pytest.param(lambda raw: memoryview(b"xx" + raw)[2:], id="memoryview-of-a-part"),
        pytest.param(mapped, id="mmap"),
    ],
)
def test_every_buffer_gives_the_same(convert: Callable[[bytes], scanner.Raw]) -> None:
    for seed in range(30):
        raw = structured(seed)
        other = convert(raw)
        assert scan(other) == scan(raw)
        assert bodystructure(other, scan(raw)) == bodystructure(raw, scan(raw))


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        pytest.param(b"\r\n\r\nx", [b"\r\nx"], id="only-the-first-empty-line-ends-the-header"),
        pytest.param(b"\r\nx\r\n", [b"x\r\n"], id="only-one-line-end-belongs-to-the-delimiter"),
        pytest.param(
            b"\r\n x\r\n --b\r\n--bb\r\n-- b\r\n---b", [b" x\r\n --b\r\n--bb\r\n-- b\r\n---b"], id="no-delimiters"
        ),
        pytest.param(b"\r\nx\r--b\r\ny", [b"x\r--b\r\ny"], id="cr-alone-ends-no-line"),
        pytest.param(b"\r\nx\r\n--b\r\r\n\r\ny", [b"x", b"y"], id="cr-at-the-end-of-a-delimiter-is-a-blank"),
        pytest.param(b"\r\nx\r\n--b \t \r\n\r\ny", [b"x", b"y"], id="blanks-behind-a-delimiter"),
        pytest.param(b"\r\nx\r\n--b--x\r\ny", [b"x\r\n--b--x\r\ny"], id="text-behind-a-close-delimiter"),
        pytest.param(b"\r\nx\n--b\n\ny", [b"x", b"y"], id="lf-lines"),
        pytest.param(b"X: y\r\n--b\r\n\r\ny", [b"", b"y"], id="delimiter-in-a-header"),
        pytest.param(b"no header\r\n\r\ny", [b"no header\r\n\r\ny"], id="part-without-header"),
        pytest.param(
            b"\r\nx\r\n--b" + b" " * 2000 + b"\r\ny", [b"x\r\n--b" + b" " * 2000 + b"\r\ny"], id="endless-line"
        ),
    ],
)
def test_delimiters(part: bytes, expected: list[bytes]) -> None:
    assert leaves(MIXED + b"--b\r\n" + part + b"\r\n--b--\r\n") == expected


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        pytest.param(b"multipart/mixed; boundary=b", b"b", id="token"),
        pytest.param(b'multipart/mixed; boundary="b c"', b"b c", id="quoted"),
        pytest.param(b'multipart/mixed; boundary="b  "', b"b", id="blanks-at-the-end-are-none-of-it"),
        pytest.param(b'multipart/mixed; BOUNDARY="b--"', b"b--", id="hyphens-at-the-end"),
        pytest.param(b"multipart/mixed; charset=x; boundary=b; type=y", b"b", id="among-others"),
        pytest.param(b"multipart/mixed; boundary*0=a; boundary*1=b", b"ab", id="continued"),
        pytest.param(b'multipart/mixed; boundary="' + b"x" * 500 + b'"', b"x" * 500, id="long"),
        pytest.param(b"multipart/mixed boundary=b", b"b", id="semicolon-forgotten"),
        pytest.param(b'multipart/mixed; x="; boundary=no"; boundary=b', b"b", id="not-inside-quotes"),
    ],
)
def test_boundary_parameter(content_type: bytes, expected: bytes) -> None:
    raw = b"Content-Type: %b\r\n\r\n--%b\r\n\r\nx\r\n--%b--\r\n" % (content_type, expected, expected)
    assert leaves(raw) == [b"x"]
    assert scan(raw).nodes[0].kind is Kind.MULTIPART


@pytest.mark.parametrize(
    "content_type",
    [
        pytest.param(b"multipart/mixed", id="none"),
        pytest.param(b'multipart/mixed; boundary=""', id="empty"),
        pytest.param(b'multipart/mixed; boundary=" "', id="blank"),
        pytest.param(b"multipart/mixed; boundary=" + b"x" * 501, id="too-long"),
    ],
)
def test_multipart_without_usable_boundary_is_text(content_type: bytes) -> None:
    (node,) = scan(b"Content-Type: " + content_type + b"\r\n\r\n--\r\n\r\nx\r\n----\r\n").nodes
    assert (node.kind, node.media_type) == (Kind.LEAF, "text/plain")


def test_outer_delimiter_wins_where_a_line_can_be_read_two_ways() -> None:
    raw = (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
        b"Content-Type: multipart/mixed; boundary=b--\r\n\r\n--b--\r\n\r\nx"
    )
    index = scan(raw)
    assert [node.media_type for node in index.nodes] == ["multipart/mixed", "multipart/mixed", "text/plain"]
    assert leaves(raw) == [b""]


def test_levels_beyond_the_limit_are_one_leaf() -> None:
    opening = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (at, at) for at in range(200))
    closing = b"".join(b"--b%d--\r\n" % at for at in range(199, -1, -1))
    raw = HEAD + opening + b"\r\nx\r\n" + closing
    index = scan(raw)
    assert len(index.nodes) == MAX_DEPTH
    assert index.nodes[-1].media_type == "application/octet-stream"
    assert b"boundary=b199" in raw[index.nodes[-1].body_start : index.nodes[-1].body_end]
    assert index.nodes[-1].body_end == raw.index(b"--b98--") - 2
    structure = bodystructure(raw, index)
    mimegrammar.bodystructure(structure)
    mimegrammar.body(body(structure))


def test_embedded_messages_beyond_the_limit_are_one_leaf() -> None:
    raw = b"Subject: x\r\nContent-Type: message/rfc822\r\n\r\n" * 200 + b"Subject: last\r\n\r\nx\r\n"
    index = scan(raw)
    assert len(index.nodes) == MAX_DEPTH
    assert index.nodes[-1].media_type == "application/octet-stream"
    assert {node.body_end for node in index.nodes} == {len(raw)}
    mimegrammar.bodystructure(bodystructure(raw, index))


def test_parts_beyond_the_limit_are_one_leaf() -> None:
    raw = MIXED + b"--b\r\n\r\nx\r\n" * (MAX_PARTS + 500) + b"--b--\r\n"
    index = scan(raw)
    assert len(index.nodes) == MAX_PARTS + 1
    last = index.nodes[-1]
    assert (last.media_type, last.body_end) == ("application/octet-stream", len(raw))
    assert raw[last.body_start :].count(b"--b\r\n") == 500
    assert Index.from_bytes(index.to_bytes()) == index


def test_lines_with_hyphens_beyond_the_limit_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner, "MAX_DELIMITERS", 10)
    raw = MIXED + b"--b\r\n\r\nx\r\n" + b"--no\r\n" * 10 + b"--b\r\n\r\ny\r\n--b--\r\n"
    assert len(leaves(raw)) == 1
    assert leaves(raw)[0].endswith(b"y\r\n--b--\r\n")


def test_boundary_at_every_place_in_the_search_window() -> None:
    """The search goes in steps; a delimiter may lie across two."""
    for length in range(scanner._STEP - 40, scanner._STEP + 10):
        assert leaves(MIXED + b"--b\r\n\r\n" + b"x" * length + b"\r\n--b\r\n\r\ny\r\n--b--") == [b"x" * length, b"y"]


def test_header_longer_than_what_is_checked_for_stray_lines() -> None:
    for shift in range(12):
        header = b"A: %b\r\n" % (b"x" * shift) + b"X-Name: y\r\n" * 60_000 + b"Content-Type: text/html\r\n\r\n"
        (node,) = scan(header + b"body").nodes
        assert (node.media_type, node.body_start) == ("text/html", len(header))


def test_embedded_headers_end_with_the_part_around_them() -> None:
    embedding = b"Content-Type: message/rfc822\r\n\r\n"
    raw = MIXED + b"--b\r\n" + embedding * 3 + b"--b--\r\n"
    end = raw.index(b"\r\n--b--")
    for node in scan(raw).nodes[1:]:
        assert node.body_end == end
        assert node.header_start <= node.body_start <= end


def test_empty_line_at_every_place_in_the_search_window() -> None:
    for length in range(4060, 4110):
        for end in (b"\r\n", b"\n"):
            for start in (b"Subject: ", b"A: b\nno field "):
                raw = start + b"x" * length + end + b"B: c" + end + end + b"body"
                assert leaves(raw) == [b"body"]


@pytest.mark.parametrize(
    ("boundary", "part", "expected"),
    [
        pytest.param(b"b:", b"X: y\r\n--b: \r\n\r\nz", [b"", b"z"], id="delimiter-that-reads-as-a-field"),
        pytest.param(b"b", b"X: y\r\n--c: d\r\n\r\nz", [b"z"], id="field-with-hyphens"),
        pytest.param(b"b", b"--c: d\r\n\r\nz", [b"z"], id="first-field-with-hyphens"),
        pytest.param(b"b", b"X: y\r\n--c\r\n\r\nz", [b"--c\r\n\r\nz"], id="no-field-and-no-delimiter"),
        pytest.param(b"b", b"X: y\n\r\nz", [b"z"], id="mixed-line-ends"),
        pytest.param(b"b", b"X: y\r\n\nz", [b"z"], id="mixed-line-ends-the-other-way"),
        pytest.param(b"b", b"X: y\r\n\rz", [b"\rz"], id="cr-alone-is-no-empty-line"),
        pytest.param(b"b", b"X: y\r\n \r\n\r\nz", [b"z"], id="blanks-are-no-empty-line"),
    ],
)
def test_where_a_header_of_a_part_ends(boundary: bytes, part: bytes, expected: list[bytes]) -> None:
    raw = b'Content-Type: multipart/mixed; boundary="%b"\r\n\r\n--%b\r\n%b\r\n--%b--' % (
        boundary, boundary, part, boundary
    )  # fmt: skip
    assert leaves(raw) == expected
    # The header of a message ends at the same place.
    if boundary == b"b":
        assert leaves(part) == expected


def test_an_empty_line_at_the_end_of_what_is_listed() -> None:
    for length in range(INDEXED - 40, INDEXED + 10):
        for end in (b"\r\n", b"\n"):
            (node,) = scan(b"Content-Type: a/b" + end + b"X:" + b"x" * (length - 24) + end + end + b"body").nodes
            assert (node.media_type, node.size) == ("a/b", 4)


GIANT = 2_000_000
BASE64 = base64.encodebytes(random.Random(1).randbytes(GIANT)).replace(b"\n", b"\r\n")


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(HEAD + b"\r\n" + b"x" * GIANT, id="one-line"),
        pytest.param(b"x" * GIANT, id="one-line-no-header"),
        pytest.param(HEAD + b"X: " + b"x" * GIANT, id="one-field"),
        pytest.param(b"a:\n" * (GIANT // 3), id="only-fields"),
        pytest.param(b"a: b\n" + b" c\n" * (GIANT // 3), id="only-continuations"),
        pytest.param(HEAD + b"\r\n" + b"\n" * GIANT, id="empty-lines"),
        pytest.param(HEAD + MIXED + BASE64, id="base64"),
        pytest.param(HEAD + MIXED + b"--b\n" * (GIANT // 4), id="delimiters"),
        pytest.param(HEAD + MIXED + b"--b\nX: y\nz" * (GIANT // 10), id="delimiters-and-headers"),
        pytest.param(HEAD + MIXED + b"\n--" * (GIANT // 3), id="hyphens"),
        pytest.param(HEAD + MIXED + b"\n--bb" * (GIANT // 5), id="near-delimiters"),
        pytest.param(HEAD + MIXED + (b"--b\n" + MIXED) * (GIANT // 50), id="same-boundary-again"),
        pytest.param(
            (HEAD + b"Content-Type: message/rfc822\r\n\r\n") * 90 + b"\r\n" + b"x\r\n" * (GIANT // 3), id="nested"
        ),
        pytest.param(
            b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (at, at) for at in range(90))
            + b"\n"
            + b"-a\n" * (GIANT // 3),
            id="nested-multiparts",
        ),
        pytest.param(b"Content-Type: multipart/mixed" + b";a*1=b" * (GIANT // 6) + b"\n\n", id="parameters"),
        pytest.param(b"Content-Type: " + b' ("\\' * (GIANT // 4) + b"\n\n", id="comments"),
    ],
)
def test_time_is_linear(raw: bytes) -> None:
    """A quadratic scan of these 2 MB takes minutes; a linear one well under a second, on any machine."""
    begin = time.process_time()
    index = scan(raw)
    assert time.process_time() - begin < 20
    assert index.nodes[0].body_end == len(raw)


def test_lines_are_counted_in_large_texts() -> None:
    raw = b"\n" + b"line\n" * 500_000 + b"last"
    (node,) = scan(raw).nodes
    assert node.lines == 500_001
    (node,) = scan(mapped(raw)).nodes
    assert node.lines == 500_001


def test_index_is_compact() -> None:
    assert len(scan(structured(1)).to_bytes()) < 2000
    (node,) = scan(HEAD + b"\r\nx").nodes
    assert len(Index([node]).to_bytes()) == 50
    assert Index([node]).to_bytes()[0] == 1


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: b"\x02" + data[1:], id="other-version"),
        pytest.param(lambda data: data[:-1], id="cut"),
        pytest.param(lambda data: data + b"x", id="longer"),
        pytest.param(lambda data: data[:3] + b"\x00\x00\x00\x00", id="no-nodes"),
        pytest.param(
            lambda data: data[:1] + b"\x00\x00" + data[3:7] + data[-27 * int.from_bytes(data[3:7], "little") :],
            id="no-words",
        ),
    ],
)
def test_damaged_index_is_an_error(damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(ValueError, match="index"):
        Index.from_bytes(damage(scan(structured(2)).to_bytes()))


def test_index_as_a_value() -> None:
    node = Node(-1, Kind.LEAF, 0, 2, 5, 1, "text", "plain", "7bit")
    assert Index([node]) == Index((node,))
    assert hash(Index([node])) == hash(Index((node,)))
    assert Index([node]) != Index([node._replace(lines=2)])
    assert Index([node]).size == 5
    assert node.size == 3
    assert repr(Index([node])) == "Index(1 nodes, 5 octets)"
