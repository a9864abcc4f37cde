"""Sections, on the example of RFC 9051 §6.4.5.1 and on what has no parts."""

import pytest

from duckmail.mime.scan import scan
from duckmail.mime.section import SectionPart, find_part, part_numbers, section_range

# RFC 9051 §6.4.5.1: "a complex message with some of its part specifiers"
COMPLEX = (
    b"H0: x\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n"
    b"--a\r\nH1: x\r\n\r\nbody 1\r\n"
    b"--a\r\nH2: x\r\nContent-Type: application/octet-stream\r\n\r\nbody 2\r\n"
    b"--a\r\nH3: x\r\nContent-Type: message/rfc822\r\n\r\n"
    b"I3: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nH31: x\r\n\r\nbody 3.1\r\n"
    b"--b\r\nH32: x\r\nContent-Type: application/octet-stream\r\n\r\nbody 3.2\r\n--b--\r\n"
    b"--a\r\nH4: x\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n"
    b"--c\r\nH41: x\r\nContent-Type: image/gif\r\n\r\nbody 4.1\r\n"
    b"--c\r\nH42: x\r\nContent-Type: message/rfc822\r\n\r\n"
    b"I42: x\r\nContent-Type: multipart/mixed; boundary=d\r\n\r\n"
    b"--d\r\nH421: x\r\n\r\nbody 4.2.1\r\n"
    b"--d\r\nH422: x\r\nContent-Type: multipart/alternative; boundary=e\r\n\r\n"
    b"--e\r\nH4221: x\r\n\r\nbody 4.2.2.1\r\n"
    b"--e\r\nH4222: x\r\nContent-Type: text/richtext\r\n\r\nbody 4.2.2.2\r\n--e--\r\n--d--\r\n--c--\r\n--a--\r\n"
)
SINGLE = b"Subject: x\r\n\r\nbody\r\n"
EMBEDDED = b"H0: x\r\nContent-Type: message/rfc822\r\n\r\nI0: x\r\n\r\nbody\r\n"
BODY, HEADER, TEXT, MIME = SectionPart.BODY, SectionPart.HEADER, SectionPart.TEXT, SectionPart.MIME


def cut(raw: bytes, path: tuple[int, ...], what: SectionPart) -> bytes | None:
    found = section_range(scan(raw), path, what)
    return None if found is None else raw[slice(*found)]


@pytest.mark.parametrize(
    ("path", "what", "start", "end"),
    [
        pytest.param((), HEADER, b"H0: x", b"boundary=a\r\n\r\n", id="HEADER"),
        pytest.param((), TEXT, b"--a\r\nH1", b"--a--\r\n", id="TEXT"),
        pytest.param((1,), BODY, b"body 1", b"body 1", id="1"),
        pytest.param((1,), MIME, b"H1: x", b"x\r\n\r\n", id="1.MIME"),
        pytest.param((2,), BODY, b"body 2", b"body 2", id="2"),
        pytest.param((3,), BODY, b"I3: x", b"--b--", id="3"),
        pytest.param((3,), HEADER, b"I3: x", b"boundary=b\r\n\r\n", id="3.HEADER"),
        pytest.param((3,), TEXT, b"--b\r\nH31", b"--b--", id="3.TEXT"),
        pytest.param((3,), MIME, b"H3: x", b"rfc822\r\n\r\n", id="3.MIME"),
        pytest.param((3, 1), BODY, b"body 3.1", b"body 3.1", id="3.1"),
        pytest.param((3, 2), BODY, b"body 3.2", b"body 3.2", id="3.2"),
        pytest.param((3, 2), MIME, b"H32", b"stream\r\n\r\n", id="3.2.MIME"),
        pytest.param((4,), BODY, b"--c\r\nH41", b"--c--", id="4"),
        pytest.param((4, 1), MIME, b"H41", b"gif\r\n\r\n", id="4.1.MIME"),
        pytest.param((4, 2), HEADER, b"I42", b"boundary=d\r\n\r\n", id="4.2.HEADER"),
        pytest.param((4, 2), TEXT, b"--d\r\nH421", b"--d--", id="4.2.TEXT"),
        pytest.param((4, 2, 1), BODY, b"body 4.2.1", b"body 4.2.1", id="4.2.1"),
        pytest.param((4, 2, 2), BODY, b"--e\r\nH4221", b"--e--", id="4.2.2"),
        pytest.param((4, 2, 2, 1), BODY, b"body 4.2.2.1", b"body 4.2.2.1", id="4.2.2.1"),
        pytest.param((4, 2, 2, 2), MIME, b"H4222", b"richtext\r\n\r\n", id="4.2.2.2.MIME"),
    ],
)
def test_sections_of_the_rfc_example(path: tuple[int, ...], what: SectionPart, start: bytes, end: bytes) -> None:
    octets = cut(COMPLEX, path, what)
    assert octets is not None
    assert octets.startswith(start)
    assert octets.endswith(end)


@pytest.mark.parametrize(
    ("path", "what"),
    [
        pytest.param((), MIME, id="MIME"),
        pytest.param((5,), BODY, id="5"),
        pytest.param((0,), BODY, id="0"),
        pytest.param((1, 1), BODY, id="1.1-of-a-leaf"),
        pytest.param((1,), HEADER, id="1.HEADER-of-a-leaf"),
        pytest.param((1,), TEXT, id="1.TEXT-of-a-leaf"),
        pytest.param((4,), HEADER, id="4.HEADER-of-a-multipart"),
        pytest.param((4,), TEXT, id="4.TEXT-of-a-multipart"),
        pytest.param((3, 3), BODY, id="3.3"),
        pytest.param((3, 1, 1), BODY, id="3.1.1"),
        pytest.param((4, 2, 2, 3), MIME, id="4.2.2.3.MIME"),
        pytest.param((2**31,), BODY, id="huge"),
    ],
)
def test_sections_that_do_not_exist(path: tuple[int, ...], what: SectionPart) -> None:
    assert cut(COMPLEX, path, what) is None


@pytest.mark.parametrize(
    ("raw", "path", "what", "expected"),
    [
        pytest.param(SINGLE, (), BODY, SINGLE, id="whole"),
        pytest.param(SINGLE, (1,), BODY, b"body\r\n", id="1-of-a-single-part-is-its-body"),
        pytest.param(SINGLE, (1,), MIME, b"Subject: x\r\n\r\n", id="1.MIME-of-a-single-part"),
        pytest.param(SINGLE, (1,), TEXT, None, id="1.TEXT-of-a-single-part"),
        pytest.param(SINGLE, (2,), BODY, None, id="2-of-a-single-part"),
        pytest.param(SINGLE, (1, 1), BODY, None, id="1.1-of-a-single-part"),
        pytest.param(EMBEDDED, (1,), BODY, b"I0: x\r\n\r\nbody\r\n", id="1-of-an-embedding-message"),
        pytest.param(EMBEDDED, (1,), HEADER, b"I0: x\r\n\r\n", id="1.HEADER-of-an-embedding-message"),
        pytest.param(EMBEDDED, (1,), TEXT, b"body\r\n", id="1.TEXT-of-an-embedding-message"),
        pytest.param(EMBEDDED, (1, 1), BODY, b"body\r\n", id="1.1-of-an-embedding-message"),
        pytest.param(EMBEDDED, (1, 1), MIME, b"I0: x\r\n\r\n", id="1.1.MIME-of-an-embedding-message"),
        pytest.param(EMBEDDED, (1, 2), BODY, None, id="1.2-of-an-embedding-message"),
        pytest.param(EMBEDDED, (1, 1, 1), BODY, None, id="1.1.1-of-an-embedding-message"),
        pytest.param(b"", (), BODY, b"", id="empty"),
        pytest.param(b"", (), HEADER, b"", id="header-of-empty"),
        pytest.param(b"", (1,), BODY, b"", id="1-of-empty"),
        pytest.param(b"Subject: x", (), HEADER, b"Subject: x", id="header-without-empty-line"),
        pytest.param(b"Subject: x", (), TEXT, b"", id="text-of-header-only"),
    ],
)
def test_messages_without_parts(raw: bytes, path: tuple[int, ...], what: SectionPart, expected: bytes | None) -> None:
    assert cut(raw, path, what) == expected


def test_part_numbers_find_their_parts() -> None:
    index = scan(COMPLEX)
    numbers = part_numbers(index)
    assert [".".join(map(str, number)) for number in numbers] == [
        *("", "1", "2", "3", "3", "3.1", "3.2", "4", "4.1", "4.2", "4.2", "4.2.1", "4.2.2", "4.2.2.1", "4.2.2.2")
    ]
    for number in numbers[1:]:
        found = find_part(index, number)
        assert found is not None
        assert numbers[found] == number
