"""Fuzz target: a whole message. Whatever it is, it is described: in valid IMAP data, in ranges inside one another."""

from duckmail.mime.address import addresses
from duckmail.mime.envelope import envelope
from duckmail.mime.header import decode, fields, select_fields
from duckmail.mime.index import Index, Kind
from duckmail.mime.scan import MAX_DEPTH, MAX_PARTS, scan
from duckmail.mime.section import SectionPart, find_part, part_numbers, section_range
from duckmail.mime.structure import body, bodystructure
from duckmail.mime.summary import INTRO, summary
from duckmail.mime.text import decoded_header, decoded_text
from tests.support import mimegrammar
from tests.support.corpus import cpython, shapes, structured

SEEDS: list[bytes] = [
    *(structured(seed) for seed in range(30)),
    *(octets for _, octets in shapes() if len(octets) < 5000),
    *(octets for _, octets in cpython() if len(octets) < 20_000),
]
WORDS: list[bytes] = [
    b"--", b"\n--x\n", b"\r\n--x--\r\n", b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n",
    b"Content-Type: multipart/digest; boundary=\"x\"\r\n\r\n", b"Content-Type: message/rfc822\r\n\r\n",
    b"Content-Type: text/html; charset=utf-7\r\n", b"Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n",
    b"Content-Transfer-Encoding: base64\r\n", b"Content-Transfer-Encoding: quoted-printable\r\n",
    b"Content-Disposition: attachment; filename*0*=utf-8''%C3; filename*1*=%A4", b"To: a:b@c,;\r\n", b"From: ",
    b"=?utf-8?b?w4Q=?=", b"=?utf-7?q?+2AA-?=", b"(", b"<@a,@b:", b"\x1b$B", b"<style>", b"<!--", b"&#x;", b"Date: ",
]  # fmt: skip


def target(data: bytes) -> None:
    index = scan(data)
    _check_ranges(data, index)
    _check_sections(index)
    assert Index.from_bytes(index.to_bytes()) == index
    mimegrammar.envelope(envelope(data, index))
    structure = bodystructure(data, index)
    described = mimegrammar.bodystructure(structure)
    assert mimegrammar.body(body(structure)) == _without_extension(described)
    _check_header(data[: index.nodes[0].body_start])
    _check_texts(data, index)


def _check_ranges(data: bytes, index: Index) -> None:
    assert len(index.nodes) <= 2 * MAX_PARTS
    ends = [0] * len(index.nodes)  # of the last child seen
    depths = [0] * len(index.nodes)
    for position, node in enumerate(index.nodes):
        assert node.parent < position
        assert 0 <= node.header_start <= node.body_start <= node.body_end <= len(data)
        assert (node.kind is Kind.LEAF) == (not index.children(position))
        if node.parent >= 0:
            above = index.nodes[node.parent]
            assert above.body_start <= node.header_start
            assert node.body_end <= above.body_end
            assert ends[node.parent] <= node.header_start
            ends[node.parent] = node.body_end
            depths[position] = depths[node.parent] + 1
            assert depths[position] <= MAX_DEPTH
            if above.kind is Kind.MESSAGE:
                assert (node.header_start, node.body_end) == (above.body_start, above.body_end)
                assert len(index.children(node.parent)) == 1
        if node.type == "text" or node.kind is Kind.MESSAGE:
            octets = data[node.body_start : node.body_end]
            assert node.lines == octets.count(b"\n") + (1 if octets and not octets.endswith(b"\n") else 0)
    assert index.nodes[0].header_start == 0
    assert index.nodes[0].body_end == len(data)


def _check_sections(index: Index) -> None:
    numbers = part_numbers(index)
    for position, number in list(enumerate(numbers))[:300]:
        node = index.nodes[position]
        embedded = node.parent >= 0 and index.nodes[node.parent].kind is Kind.MESSAGE
        if number and not (embedded and node.kind is Kind.MULTIPART):
            assert find_part(index, number) == position
            assert section_range(index, number, SectionPart.BODY) == (node.body_start, node.body_end)
            assert section_range(index, number, SectionPart.MIME) == (node.header_start, node.body_start)
            assert (section_range(index, number, SectionPart.TEXT) is None) == (node.kind is not Kind.MESSAGE)
        assert section_range(index, (*number, 0), SectionPart.BODY) is None
        if node.kind is not Kind.MESSAGE:  # the numbers behind a message count the parts of the embedded one
            beyond = max(2, len(index.children(position)) + 1)
            assert section_range(index, (*number, beyond), SectionPart.BODY) is None


def _without_extension(described: dict[str, mimegrammar.Value]) -> dict[str, mimegrammar.Value]:
    left_out = {"md5", "disposition", "language", "location"}
    if "parts" in described:
        left_out.add("parameters")
    kept = {name: value for name, value in described.items() if name not in left_out}
    if "parts" in kept:
        kept["parts"] = [_without_extension(part) for part in kept["parts"]]
    if "body" in kept:
        kept["body"] = _without_extension(kept["body"])
    return kept


def _check_header(block: bytes) -> None:
    found = fields(block)
    names = frozenset(field.name for field in found[::2])
    chosen = select_fields(block, names, invert=False)
    rest = select_fields(block, names, invert=True)
    assert chosen.endswith(b"\r\n")
    assert rest.endswith(b"\r\n")
    wanted = {name.lower() for name in names}
    for field in fields(chosen):
        assert field.name.lower() in wanted
    for field in fields(rest):
        assert field.name.lower() not in wanted
    for field in found[:50]:
        decode(field.value).encode()
        assert not any(ord(character) < 32 and character != "\t" for character in decode(field.value))
        addresses(field.value)
    decoded_header(block).encode()


def _check_texts(data: bytes, index: Index) -> None:
    whole = "".join(decoded_text(data, index, 1_000_000))
    whole.encode()
    assert "".join(decoded_text(data, index, 100)) == whole[:100]
    found = summary(data, index)
    assert len(found.intro) <= INTRO + 1
    numbers = {".".join(map(str, number)) for number in part_numbers(index)}
    for attachment in found.attachments:
        assert attachment.path in numbers
    repr(found).encode()
