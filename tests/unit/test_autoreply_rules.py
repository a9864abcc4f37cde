"""Who gets an automatic answer, and what it looks like (RFC 3834)."""

from email import message_from_bytes
from email.policy import default

import pytest

from duckmail.mime.header import Lookup
from duckmail.model.autoreply import Autoreply
from duckmail.services.autoreply import compose, may_answer

TO = b"To: anna@example.com\r\n"


@pytest.mark.parametrize(
    ("sender", "header", "expected"),
    [
        pytest.param("w@away.test", TO, True, id="a-person"),
        pytest.param("w@away.test", b"Cc: X <An.na+x@example.com>\r\n", True, id="in-cc-with-label"),
        pytest.param("w@away.test", b"To: other@example.com\r\n", False, id="not-named"),
        pytest.param("", TO, False, id="null-sender"),
        pytest.param("anna@example.com", TO, False, id="herself"),
        pytest.param("MAILER-DAEMON@away.test", TO, False, id="daemon"),
        pytest.param("no-reply@away.test", TO, False, id="no-reply"),
        pytest.param("shop.noreply@away.test", TO, False, id="no-reply-behind-a-name"),
        pytest.param("list-request@away.test", TO, False, id="list-manager"),
        pytest.param("w@away.test", TO + b"Auto-Submitted: auto-replied\r\n", False, id="auto-replied"),
        pytest.param("w@away.test", TO + b"Auto-Submitted: no\r\n", True, id="not-auto-submitted"),
        pytest.param("w@away.test", TO + b"Precedence: bulk\r\n", False, id="bulk"),
        pytest.param("w@away.test", TO + b"Precedence: LIST\r\n", False, id="list"),
        pytest.param("w@away.test", TO + b"List-Unsubscribe: <x>\r\n", False, id="unsubscribe"),
        pytest.param("w@away.test", TO + b"List-Id: <x.y>\r\n", False, id="list-id"),
        pytest.param("w@away.test", TO + b"X-Auto-Response-Suppress: DR, AutoReply\r\n", False, id="suppressed"),
        pytest.param("w@away.test", TO + b"X-Auto-Response-Suppress: DR\r\n", True, id="other-suppressed"),
    ],
)
def test_who_is_answered(sender: str, header: bytes, expected: bool) -> None:
    assert may_answer(sender, Lookup(header), ("anna@example.com",)) is expected


def composed(
    autoreply: Autoreply, header: bytes, sender: str = "w@away.test", address: str = "anna@example.com"
) -> bytes:
    return compose(autoreply, address=address, name="Anna", sender=sender, header=Lookup(header), hostname="mx.test")


def test_what_it_says() -> None:
    header = b"Message-ID: <one@away.test>\r\nReferences: <zero@away.test>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
    octets = composed(Autoreply(status=True, text="Bin weg\nGrüße"), header)
    message = message_from_bytes(octets, policy=default)
    assert b"\n" not in octets.replace(b"\r\n", b"")
    assert {name: str(message[name]) for name in ("From", "To", "Subject", "Auto-Submitted", "In-Reply-To")} == {
        "From": "Anna <anna@example.com>",
        "To": "w@away.test",
        "Subject": "Auto: Re: Grüße",
        "Auto-Submitted": "auto-replied",
        "In-Reply-To": "<one@away.test>",
    }
    assert message["References"] == "<zero@away.test> <one@away.test>"
    assert message.get_content().split() == ["Bin", "weg", "Grüße"]


def test_both_forms() -> None:
    octets = composed(
        Autoreply(status=True, name="A", subject="Away", text="plain", html="<b>html</b>"), b"Subject: x\r\n"
    )
    message = message_from_bytes(octets, policy=default)
    assert message["Subject"] == "Auto: Away"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b"Subject: a\rBcc: x@y.test\r\n", id="bare-cr"),
        pytest.param(b"Subject: =?utf-8?q?a=0D=0ABcc:_x@y.test?=\r\n", id="encoded-line-end"),
        pytest.param(b"Message-ID: <a@b>\r\n\tBcc: x\r\nSubject: \xff\xfe\r\n", id="octets"),
    ],
)
def test_nothing_of_the_message_becomes_a_field(header: bytes) -> None:
    octets = composed(Autoreply(status=True, name="A\r\nBcc: x@y.test", text="x"), header)
    message = message_from_bytes(octets, policy=default)
    assert message["Bcc"] is None
    assert set(message.keys()) >= {"From", "To", "Subject"}


def test_addresses_beyond_ascii() -> None:
    octets = composed(Autoreply(status=True, text="x"), b"", sender="w@bücher.test")
    assert "To: w@bücher.test\r\n".encode() in octets
