"""SASL PLAIN and LOGIN, response by response."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.sasl.mechanisms import MAX_RESPONSE, Mechanism, Offer, decode
from protocols.sasl.steps import Cancelled, Credentials, SaslError

OFFER = Offer(("PLAIN", "PLAIN-CLIENTTOKEN", "LOGIN"))


def start(name: str) -> Mechanism | None:
    return OFFER.start(name, b"")


@pytest.mark.parametrize(
    ("response", "username", "password"),
    [
        pytest.param(b"\0anna\0secret", "anna", "secret", id="no-authzid"),
        pytest.param(b"anna\0anna\0secret", "anna", "secret", id="authzid-is-authcid"),
        pytest.param("\0änna\0pässword".encode(), "änna", "pässword", id="utf-8"),
        pytest.param(b"\0anna@example.com\0 pass word ", "anna@example.com", " pass word ", id="blanks-are-kept"),
    ],
)
def test_plain_gives_the_credentials(response: bytes, username: str, password: str) -> None:
    mechanism = start("plain")
    assert mechanism is not None
    assert mechanism.first_challenge() == b""
    assert mechanism.step(response) == Credentials(username, password)


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"anna\0secret", id="one-nul"),
        pytest.param(b"\0anna\0secret\0token", id="a-fourth-field"),
        pytest.param(b"root\0anna\0secret", id="acting-as-another"),
        pytest.param(b"\0\0secret", id="no-name"),
        pytest.param(b"\0anna\0", id="no-password"),
        pytest.param(b"\0anna\0\xff\xfe", id="not-utf-8"),
    ],
)
def test_plain_refuses(response: bytes) -> None:
    mechanism = start("PLAIN")
    assert mechanism is not None
    with pytest.raises(SaslError):
        mechanism.step(response)


def test_a_client_token_is_left_out() -> None:
    mechanism = start("PLAIN-CLIENTTOKEN")
    assert mechanism is not None
    assert mechanism.step(b"\0anna\0secret\0token") == Credentials("anna", "secret")


@pytest.mark.parametrize("response", [b"", b"anna", b"\0anna\0secret", b"\0anna\0secret\0token\0more"])
def test_a_client_token_is_the_fourth_part(response: bytes) -> None:
    mechanism = start("PLAIN-CLIENTTOKEN")
    assert mechanism is not None
    with pytest.raises(SaslError):
        mechanism.step(response)


def test_login_asks_twice() -> None:
    mechanism = start("Login")
    assert mechanism is not None
    assert mechanism.first_challenge() == b"Username:"
    assert mechanism.step(b"anna") == b"Password:"
    assert mechanism.step(b"secret") == Credentials("anna", "secret")


@pytest.mark.parametrize(
    "responses",
    [
        pytest.param((b"", b"secret"), id="no-name"),
        pytest.param((b"anna", b""), id="no-password"),
        pytest.param((b"an\0na", b"secret"), id="nul-in-name"),
        pytest.param((b"anna", b"se\0cret"), id="nul-in-password"),
    ],
)
def test_login_refuses(responses: tuple[bytes, bytes]) -> None:
    mechanism = start("LOGIN")
    assert mechanism is not None
    first, second = responses

    def exchange() -> None:
        mechanism.step(first)
        mechanism.step(second)

    with pytest.raises(SaslError):
        exchange()


def test_an_unknown_mechanism_is_none() -> None:
    assert start("CRAM-MD5") is None


@pytest.mark.parametrize(
    ("line", "octets"),
    [
        pytest.param(b"=", b"", id="empty-initial-response"),
        pytest.param(b"", b"", id="empty"),
        pytest.param(b"AGEAYg==", b"\0a\0b", id="base64"),
    ],
)
def test_decode(line: bytes, octets: bytes) -> None:
    assert decode(line) == octets


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"AGEAYg", id="no-padding"),
        pytest.param(b"A GEAYg==", id="blank-inside"),
        pytest.param(b"AGEAYg==\r", id="cr-behind"),
        pytest.param(b"\xff\xff\xff\xff", id="eight-bit"),
        pytest.param(b"A" * (MAX_RESPONSE + 4), id="too-long"),
    ],
)
def test_decode_refuses(line: bytes) -> None:
    with pytest.raises(SaslError):
        decode(line)


def test_a_star_cancels() -> None:
    with pytest.raises(Cancelled):
        decode(b"*")


def test_credentials_do_not_show_the_password() -> None:
    assert "secret" not in repr(Credentials("anna", "secret"))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=64), st.lists(st.binary(max_size=32), max_size=3))
def test_no_input_raises_anything_else(line: bytes, responses: list[bytes]) -> None:
    for name in ("PLAIN", "LOGIN"):
        mechanism = start(name)
        assert mechanism is not None
        try:
            decode(line)
            for response in responses:
                mechanism.step(response)
        except SaslError:
            pass
