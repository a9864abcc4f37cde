"""What is taken out of a message that comes straight from outside, and what is left as it is."""

import pytest

from duckmail.mime.headerblock import HEADER_LIMIT
from duckmail.services.reception.cleaning import cleaned, readable

SERVER = "mx.example"
RECEIVED = b"Received: from x\r\n\tby mx.example; now\r\n"


@pytest.mark.parametrize(
    ("field", "kept"),
    [
        pytest.param(b"Authentication-Results: mx.example; spf=pass\r\n", False, id="ours"),
        pytest.param(b"AUTHENTICATION-results:MX.Example;none\r\n", False, id="in-other-case"),
        pytest.param(b"Authentication-Results: mx.example.; none\r\n", False, id="with-a-final-dot"),
        pytest.param(b"Authentication-Results: mx.example\r\n", False, id="without-results"),
        pytest.param(b"Authentication-Results: mx.example 1; none\r\n", False, id="with-a-version"),
        pytest.param(b"Authentication-Results: mx.example/1; none\r\n", False, id="with-a-version-behind-a-slash"),
        pytest.param(b'Authentication-Results: "mx.example"; none\r\n', False, id="quoted"),
        pytest.param(b"Authentication-Results: (x) mx.example; none\r\n", False, id="behind-a-comment"),
        pytest.param(b"Authentication-Results:\r\n mx.example;\r\n\tspf=pass\r\n", False, id="folded"),
        pytest.param(b"Authentication-Results : mx.example; none\r\n", False, id="blank-before-the-colon"),
        pytest.param(b"Received-SPF: pass (x) receiver=mx.example; helo=x\r\n", False, id="spf"),
        pytest.param(b'Received-SPF: pass receiver = "MX.example"\r\n', False, id="spf-quoted"),
        pytest.param(b"Authentication-Results: mx.example.org; none\r\n", True, id="another-server"),
        pytest.param(b"Authentication-Results: other; x=mx.example\r\n", True, id="named-elsewhere"),
        pytest.param(b"Received-SPF: pass receiver=mx.example.org\r\n", True, id="spf-of-another"),
        pytest.param(b"ARC-Authentication-Results: i=1; mx.example; none\r\n", True, id="arc"),
        pytest.param(b"X-Authentication-Results: mx.example; none\r\n", True, id="another-field"),
    ],
)
@pytest.mark.parametrize("place", ["first", "middle", "last", "alone"])
def test_fields_in_our_name(field: bytes, kept: bool, place: str) -> None:
    before = b"" if place in {"first", "alone"} else b"From: a@b.example\r\n"
    after = b"" if place in {"last", "alone"} else b"Subject: x\r\n"
    for body in (b"", b"Authentication-Results: mx.example; in the body\r\n", b"\r\n\r\nx"):
        raw = before + field + after + b"\r\n" + body
        wanted = RECEIVED + before + (field if kept else b"") + after + b"\r\n" + body
        assert cleaned(raw, RECEIVED, SERVER) == wanted
        assert cleaned(bytearray(raw), RECEIVED, SERVER) == wanted


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"From: x\r\n\r\nbody", True),
        (b"\r\nbody only", True),
        (b"From: x\r\n", True),
        (b"", True),
        (b"From: x\nTo: y\r\n\r\n", False),
        (b"From: x\rTo: y\r\n\r\n", False),
        (b"From: x\r\n\r\nbinary \n \r body", True),
        (b"X: " + b"x" * HEADER_LIMIT + b"\r\n\r\n", False),
        (b"X: x\r\n" * (HEADER_LIMIT // 6 + 1) + b"\r\n\r\n", False),
    ],
)
def test_what_is_readable(raw: bytes, said: bool) -> None:
    assert readable(raw) is said
    assert readable(bytearray(raw)) is said
