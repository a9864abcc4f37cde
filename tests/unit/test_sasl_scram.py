"""SCRAM-SHA-256: the messages one by one, the example of the RFC, and what SASLprep makes of names and passwords."""

from base64 import b64decode, b64encode
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duckmail.errors import AuthenticationFailed
from duckmail.model.credentials import ScramProof
from duckmail.model.saslprep import saslprep
from duckmail.services.scram import derive, is_suitable, signature
from protocols.sasl.mechanisms import Offer
from protocols.sasl.scram import Scram, final_message
from protocols.sasl.steps import Lookup, SaslError
from tests.support.scram_client import ScramClient

SALT = b"0123456789abcdef"
END_POINT = b"hash of a certificate"


def _challenge(mechanism: Scram, first: bytes, salt: bytes = SALT, iterations: int = 4096) -> bytes:
    step = mechanism.step(first)
    assert isinstance(step, Lookup)
    return step.challenge(salt, iterations)


def _proof(mechanism: Scram, response: bytes) -> ScramProof:
    step = mechanism.step(response)
    assert isinstance(step, ScramProof)
    return step


def test_the_example_of_the_rfc() -> None:
    """RFC 7677 §3."""
    salt = b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    mechanism = Scram(plus=False, end_point=b"", nonce="%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
    nonce = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    challenge = _challenge(mechanism, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", salt)
    assert challenge == nonce + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    proof = _proof(mechanism, b"c=biws," + nonce + b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    assert (proof.username, proof.salt, proof.iterations) == ("user", salt, 4096)
    signed = signature(derive("pencil", salt, 4096), proof)
    assert final_message(signed) == b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    assert not signature(derive("Pencil", salt, 4096), proof)
    # The client of our other tests says the same.
    client = ScramClient("user", "pencil", nonce="rOprNGfwEbeRWgbNEkqO")
    assert client.final(challenge).endswith(b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    assert client.verifier == final_message(signed)


@pytest.mark.parametrize(
    ("first", "username"),
    [
        pytest.param("n,,n=anna,r=x", "anna", id="plain"),
        pytest.param("y,,n=anna,r=x", "anna", id="binding-not-offered"),
        pytest.param("n,a=anna,n=anna,r=x", "anna", id="authzid-is-the-name"),
        pytest.param("n,,n=a=2Cb=3Dc,r=x", "a,b=c", id="escapes"),
        pytest.param("n,,n=änna@example.com,r=x", "änna@example.com", id="utf-8"),
        pytest.param("n,,n=anna,r=x,e=later", "anna", id="an-extension-that-may-be-ignored"),
        pytest.param("n,,n=anna,r=" + "x" * 256, "anna", id="longest-nonce"),
    ],
)
def test_a_first_message(first: str, username: str) -> None:
    step = Scram(plus=False, end_point=b"").step(first.encode())
    assert isinstance(step, Lookup)
    assert step.username == username


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"n=anna,r=x", id="no-header"),
        pytest.param(b"n,,n=anna", id="no-nonce"),
        pytest.param(b"n,,n=anna,r=", id="empty-nonce"),
        pytest.param(b"n,,n=anna,r=x y", id="blank-in-the-nonce"),
        pytest.param(b"n,,n=anna,r=" + b"x" * 257, id="nonce-too-long"),
        pytest.param(b"n,,n=,r=x", id="empty-name"),
        pytest.param(b"n,,n=a=b,r=x", id="lone-equals-sign"),
        pytest.param(b"n,,n=a=2c,r=x", id="escape-in-lower-case"),
        pytest.param(b"n,,n=\xff,r=x", id="not-utf-8"),
        pytest.param(b"n,,n=a\0,r=x", id="nul"),
        pytest.param(b"n,a=bert,n=anna,r=x", id="acting-as-another"),
        pytest.param(b"n,,m=must,n=anna,r=x", id="an-extension-that-must-be-known"),
        pytest.param(b"p=tls-server-end-point,,n=anna,r=x", id="a-binding-without-plus"),
        pytest.param(b"z,,n=anna,r=x", id="unknown-flag"),
    ],
)
def test_no_first_message(first: bytes) -> None:
    with pytest.raises(SaslError):
        Scram(plus=False, end_point=END_POINT).step(first)


def test_a_downgrade_is_told_from_a_client_of_an_older_server() -> None:
    """RFC 5802 §6: "y" where -PLUS is offered means that somebody took it out of what the server said."""
    with pytest.raises(AuthenticationFailed):
        Scram(plus=False, end_point=END_POINT).step(b"y,,n=anna,r=x")
    Scram(plus=False, end_point=b"").step(b"y,,n=anna,r=x")
    Scram(plus=False, end_point=END_POINT).step(b"n,,n=anna,r=x")


@pytest.mark.parametrize(
    ("header", "binding", "error"),
    [
        pytest.param("p=tls-server-end-point,,", END_POINT, None, id="right"),
        pytest.param(
            "p=tls-server-end-point,,", b"another certificate", AuthenticationFailed, id="another-certificate"
        ),
        pytest.param("p=tls-server-end-point,,", b"", AuthenticationFailed, id="none"),
        pytest.param("p=tls-exporter,,", END_POINT, AuthenticationFailed, id="another-kind"),
        pytest.param("n,,", b"", SaslError, id="without-a-flag"),
    ],
)
def test_channel_binding(header: str, binding: bytes, error: type[Exception] | None) -> None:
    mechanism = Scram(plus=True, end_point=END_POINT)
    client = ScramClient("anna", "secret", header=header, binding=binding)

    def exchange() -> ScramProof:
        return _proof(mechanism, client.final(_challenge(mechanism, client.first())))

    if error is not None:
        with pytest.raises(error):
            exchange()
    else:
        signed = signature(derive("secret", SALT, 4096), exchange())
        assert final_message(signed) == client.verifier


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda final: final.replace(b"r=", b"r=x"), id="another-nonce"),
        pytest.param(lambda final: final[:-4], id="short-proof"),
        pytest.param(lambda final: final.partition(b",p=")[0], id="no-proof"),
        pytest.param(lambda final: final.replace(b",p=", b",p=!"), id="no-base64"),
        pytest.param(lambda final: b"c=biw" + final[6:], id="binding-is-no-base64"),
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda final: final + b",x=y", id="something-behind-the-proof"),
    ],
)
def test_no_final_message(change: Callable[[bytes], bytes]) -> None:
    mechanism = Scram(plus=False, end_point=b"")
    client = ScramClient("anna", "secret")
    final = client.final(_challenge(mechanism, client.first()))
    with pytest.raises(SaslError):
        mechanism.step(change(final))


def test_the_header_is_part_of_what_is_proved() -> None:
    """RFC 5802 §6: else "y" could be turned into "n" on the way."""
    mechanism = Scram(plus=False, end_point=b"")
    client = ScramClient("anna", "secret", header="y,,")
    challenge = _challenge(mechanism, client.first().replace(b"y,,", b"n,,"))
    with pytest.raises(AuthenticationFailed):
        mechanism.step(client.final(challenge))


def test_each_exchange_has_its_own_nonce() -> None:
    challenges = {_challenge(Scram(plus=False, end_point=b""), b"n,,n=anna,r=x") for _ in range(10)}
    assert len(challenges) == 10


def test_nothing_of_a_proof_shows() -> None:
    proof = ScramProof("anna", SALT, 4096, b"the message", b"the proof")
    assert "the " not in repr(proof)


@pytest.mark.parametrize(
    ("offer", "end_point", "names"),
    [
        pytest.param(Offer(("PLAIN",)), END_POINT, ("PLAIN",), id="off"),
        pytest.param(Offer(("PLAIN",), scram=True), END_POINT, ("PLAIN", "SCRAM-SHA-256"), id="without-plus"),
        pytest.param(Offer(("PLAIN",), scram=True, plus=True), b"", ("PLAIN", "SCRAM-SHA-256"), id="no-binding"),
        pytest.param(
            Offer(("PLAIN",), scram=True, plus=True),
            END_POINT,
            ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"),
            id="all",
        ),
        pytest.param(Offer(("PLAIN",), plus=True), END_POINT, ("PLAIN",), id="plus-is-nothing-without-the-other"),
    ],
)
def test_what_is_offered_can_be_had_and_nothing_else(offer: Offer, end_point: bytes, names: tuple[str, ...]) -> None:
    assert offer.names(end_point) == names
    every = ("PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS")
    assert tuple(name for name in every if offer.start(name.lower(), end_point)) == names


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=64), st.binary(max_size=64), st.booleans())
def test_no_input_raises_anything_else(first: bytes, final: bytes, plus: bool) -> None:
    begin = b"p=tls-server-end-point,,n=" if plus else b"n,,n="
    for message in (first, begin + first, begin + b"anna,r=" + first):
        mechanism = Scram(plus=plus, end_point=END_POINT)
        try:
            challenge = _challenge(mechanism, message)
            nonce = challenge.partition(b",")[0]
            for answer in (final, b"c=" + b64encode(final) + b"," + nonce + b",p=" + b64encode(final)):
                mechanism.step(answer)
        except (SaslError, AuthenticationFailed):
            pass


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_any_name_comes_through_its_escapes(name: str) -> None:
    step = Scram(plus=False, end_point=b"").step(ScramClient(name, "secret").first())
    assert isinstance(step, Lookup)
    assert step.username == name


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        pytest.param("I\u00adX", "IX", id="soft-hyphen-is-nothing"),
        pytest.param("user", "user", id="no-change"),
        pytest.param("USER", "USER", id="case-is-kept"),
        pytest.param("\u00aa", "a", id="feminine-ordinal"),
        pytest.param("\u2168", "IX", id="roman-nine"),
        pytest.param("a\u00a0b", "a b", id="no-break-space"),
        pytest.param("p\u00e4ss", "p\u00e4ss", id="composed"),
        pytest.param("pa\u0308ss", "p\u00e4ss", id="decomposed"),
        pytest.param("\u0627\u0628", "\u0627\u0628", id="right-to-left"),
    ],
)
def test_saslprep(text: str, prepared: str) -> None:
    """RFC 4013 §3 has most of them."""
    assert saslprep(text) == prepared
    assert is_suitable(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\u0007", id="control"),
        pytest.param("\u0627\u0031", id="does-not-end-right-to-left"),
        pytest.param("\u0627a\u0628", id="both-directions"),
        pytest.param("\ue000", id="private-use"),
        pytest.param("\U0001f511", id="not-in-unicode-3.2"),
        pytest.param("\udc80", id="surrogate"),
        pytest.param("\u2028", id="line-separator"),
    ],
)
def test_saslprep_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"SASLprep|directions"):
        saslprep(text)
    assert not is_suitable(text)


def test_nothing_is_left_of_some() -> None:
    assert not is_suitable("")
    assert not is_suitable("\u00ad")
