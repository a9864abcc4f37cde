"""Messages made anew for servers that take less: as Python's `email` reads them, only the encoding is changed."""

import email
import email.policy
from collections.abc import Iterator
from email.message import EmailMessage

import pytest

from duckmail.mime.recode import Fixed, Form, longest_line, recoded

SEVEN, EIGHT, ALL = Form(False, False), Form(True, False), Form(True, True)
HEAD = b"From: a@b.test\r\nSubject: x\r\nMIME-Version: 1.0\r\n"
TEXT = HEAD + b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
BODY = "Grüße,\r\n.\r\n..\r\nblank \r\ntab\t\r\n=3D = ?\r\nFrom here\r\n".encode()
LONG = b"x" * 3000 + b"\r\nshort\r\n"
MIXED = (
    HEAD + b"Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\n\r\npreamble\r\n--b\r\n"
    b"Content-Type: multipart/alternative; boundary=c\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    b"--c\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n%b\r\n"
    b"--c\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>plain</p>\r\n--c--\r\n"
    b"--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n\x89PNG\r\n\x1a\n\x00\xff\r\r\n"
    b"--b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n%b\r\n--b--\r\nepilogue\r\n"
) % (BODY, TEXT + BODY)
SIGNED = (
    HEAD + b"Content-Type: multipart/signed; boundary=b; micalg=pgp-sha256; protocol=x/y\r\n\r\n--b\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n%b\r\n--b\r\n"
    b"Content-Type: x/y\r\n\r\nsignature\r\n--b--\r\n"
)


def leaves(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Type and decoded octets of each part; the last line end of a text is of no account."""
    message = email.message_from_bytes(raw, policy=email.policy.SMTP)
    assert isinstance(message, EmailMessage)
    for part in message.walk():
        if not part.is_multipart():
            yield part.get_content_type(), bytes(part.get_payload(decode=True) or b"")


@pytest.mark.parametrize("form", [SEVEN, EIGHT], ids=["7bit", "8bit"])
@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(TEXT + BODY, id="text"),
        pytest.param(TEXT + LONG + BODY, id="long-lines"),
        pytest.param(TEXT.replace(b"8bit", b"binary") + BODY + b"a\rb\nc", id="text-that-is-binary"),
        pytest.param(MIXED, id="nested"),
        pytest.param(TEXT.replace(b"8bit", b"base64") + b"eHh4" * 1000 + b"\r\n", id="base64-in-one-line"),
        pytest.param(TEXT.replace(b"8bit", b"quoted-printable") + b"=C3=BC" * 500 + b"\r\n", id="quoted-in-one-line"),
        pytest.param(HEAD + b"Content-Type: image/png\r\n\r\n" + bytes(range(256)) * 9, id="octets"),
    ],
)
def test_what_people_read_stays(raw: bytes, form: Form) -> None:
    made = recoded(raw, form)
    assert list(leaves(made)) == list(leaves(raw))
    assert longest_line(made) <= 998
    assert form.eight_bit or made.isascii()
    assert b"\r" not in made.replace(b"\r\n", b"")
    assert b"\n" not in made.replace(b"\r\n", b"")
    assert recoded(made, form) == made, "once is enough"


def test_what_fits_is_not_touched() -> None:
    for raw in (TEXT + BODY, SIGNED % BODY, HEAD + b"\r\n", HEAD + b"Content-Type: text/html\r\n\r\n<p>\r\n"):
        assert recoded(raw, ALL) == raw
    assert recoded(SIGNED % b"ascii", SEVEN) == SIGNED % b"ascii"


def test_no_more_is_changed_than_has_to_be() -> None:
    made = recoded(MIXED, SEVEN)
    for kept in (b"preamble\r\n--b\r\n", b"<p>plain</p>\r\n--c--\r\n", b"\r\n--b--\r\nepilogue\r\n"):
        assert kept in made
    assert made.count(b"Content-Transfer-Encoding: quoted-printable\r\n") == 2
    assert made.count(b"Content-Transfer-Encoding: base64\r\n") == 1
    assert b"8bit" not in made
    assert b"binary" not in made


def test_a_message_that_says_nothing_of_itself() -> None:
    made = recoded("From: a@b.test\r\n\r\nGrüße\r\n".encode(), SEVEN)
    assert b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n" in made
    assert made.endswith(b"\r\n\r\nGr=C3=BC=C3=9Fe\r\n")


def test_headers() -> None:
    raw = (
        'From: Jörg Müller <a@b.test>\r\nTo: "Ä, B" <c@d.test>, e@f.test\r\nSubject: Grüße aus\r\n Köln\r\n'
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8; name=ü.txt\r\n"
        "Content-Disposition: attachment; filename=ü.txt\r\n\r\nhello\r\n"
    ).encode()
    made = recoded(raw, SEVEN)
    assert made.isascii()
    read = email.message_from_bytes(made, policy=email.policy.default)
    assert isinstance(read, EmailMessage)
    assert [(one.display_name, one.addr_spec) for one in (*read["From"].addresses, *read["To"].addresses)] == [
        ("Jörg Müller", "a@b.test"),
        ("Ä, B", "c@d.test"),
        ("", "e@f.test"),
    ]
    assert read["Subject"] == "Grüße aus Köln"
    assert read.get_filename() == "ü.txt"


@pytest.mark.parametrize(
    ("raw", "form", "status"),
    [
        pytest.param(SIGNED % BODY, SEVEN, "5.6.3", id="signed"),
        pytest.param(SIGNED % LONG, ALL, "5.6.3", id="signed-with-long-lines"),
        pytest.param(HEAD + b"Content-Type: message/partial\r\n\r\n" + BODY, SEVEN, "5.6.3", id="partial"),
        pytest.param(TEXT.replace(b"8bit", b"x-own") + BODY, SEVEN, "5.6.3", id="unknown-encoding"),
        pytest.param(
            HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + BODY + b"--b\r\n\r\nx\r\n--b--\r\n",
            SEVEN,
            "5.6.3",
            id="preamble",
        ),
        pytest.param("From: ü@b.test\r\n\r\nx\r\n".encode(), SEVEN, "5.6.7", id="address"),
        pytest.param(b"Subject: \xff\r\n\r\nx\r\n", SEVEN, "5.6.7", id="no-utf-8"),
        pytest.param("Subject: ü\r\n".encode(), SEVEN, "5.6.3", id="no-end-of-header"),
    ],
)
def test_what_cannot_be_changed(raw: bytes, form: Form, status: str) -> None:
    with pytest.raises(Fixed) as raised:
        recoded(raw, form)
    assert raised.value.status == status
