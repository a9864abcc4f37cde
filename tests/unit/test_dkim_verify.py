"""Verifying DKIM signatures and ARC chains: against what dkimpy makes, and what must not verify."""

import contextlib
import re
from base64 import b64encode
from collections.abc import Callable, Sequence

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from duckmail.mime.arcverify import check_chain, message_signature, read_sets
from duckmail.mime.dkimverify import Key, Received, Signature, Unverified, pieces, read_key, read_signature, verify

NOW = 2_000_000_000.0
RSA = rsa.generate_private_key(65537, 2048)
EDWARDS = Ed25519PrivateKey.generate()
PEM = RSA.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
)
RSA_P = b64encode(
    RSA.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
).decode()
EDWARDS_P = b64encode(
    EDWARDS.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
).decode()
RECORD = f"v=DKIM1; p={RSA_P}"
KEY = read_key([RECORD], "rsa")
MESSAGE = (
    b"From: Anna <anna@example.com>\r\nTo: bert@example.net\r\nSubject:  a\r\n\tfolded   one\r\n"
    b"Message-ID: <1@example.com>\r\n\r\nHello  \t there \r\n\r\n trailing\t\r\n\r\n\r\n"
)


def parsed(raw: bytes) -> Received:
    end = raw.find(b"\r\n\r\n")
    return Received(raw[: end + 2], lambda: pieces(raw, end + 4))


def signed(raw: bytes = MESSAGE, *, form: str = "relaxed/relaxed", length: bool = False) -> bytes:
    header, _, body = form.partition("/")
    field: bytes = dkim.sign(
        raw,
        b"sel",
        b"example.com",
        PEM,
        canonicalize=(header.encode(), body.encode()),
        length=length,
    )
    return field + raw


def check(raw: bytes, record: str = RECORD, now: float = NOW) -> Signature:
    received = parsed(raw)
    signature = read_signature(received.by_name[b"dkim-signature"][0], now)
    key = read_key([record], signature.algorithm)
    verify(received, signature, key, received.hashes([signature])[signature.simple_body, signature.length])
    return signature


@pytest.mark.parametrize("form", ["relaxed/relaxed", "simple/simple", "relaxed/simple", "simple/relaxed"])
def test_signatures_of_dkimpy_verify(form: str) -> None:
    signature = check(signed(form=form))
    assert (signature.domain, signature.selector, signature.identity) == ("example.com", "sel", "@example.com")


# Signed elsewhere, and not by dkimpy: RFC 8463 Appendix A, one message with two signatures, and RFC 6376 Appendix A.
DINNER = b"""From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
"""
ED25519_SIGNATURE = b"""DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
"""
RSA_SIGNATURE = b"""DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
"""
SIMPLE = b"""DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;
      c=simple/simple; q=dns/txt; i=joe@football.example.com;
      h=Received : From : To : Subject : Date : Message-ID;
      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB
      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut
      KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV
      4bmp/YzhwvcubU4=;
Received: from client1.football.example.com  [192.0.2.1]
      by submitserver.example.com with SUBMISSION;
      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)
""" + DINNER.replace(b"game.  Are", b"game. Are")
BRISBANE = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
TEST = (
    "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWR"
    "iGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutAC"
    "DfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3"
    "Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
)
OLDER_BRISBANE = (
    "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkM"
    "oGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/R"
    "tdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToI"
    "MmPSPDdQPNUYckcQ2QIDAQAB"
)


@pytest.mark.parametrize(
    ("raw", "record", "domain"),
    [
        pytest.param(ED25519_SIGNATURE + DINNER, BRISBANE, "football.example.com", id="RFC-8463-ed25519"),
        pytest.param(RSA_SIGNATURE + DINNER, TEST, "football.example.com", id="RFC-8463-rsa"),
        pytest.param(RSA_SIGNATURE + ED25519_SIGNATURE + DINNER, TEST, "football.example.com", id="RFC-8463-both"),
        pytest.param(SIMPLE, OLDER_BRISBANE, "example.com", id="RFC-6376"),
    ],
)
def test_messages_signed_elsewhere(raw: bytes, record: str, domain: str) -> None:
    octets = raw.replace(b"\n", b"\r\n")
    assert check(octets, record).domain == domain
    for old, new in ((b"lost", b"won"), (b"dinner", b"supper")):
        with pytest.raises(Unverified):
            check(octets.replace(old, new), record)


BODIES = (
    st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r\n", b"bc", b"\xc3\xa4"]), max_size=12)
    .map(b"".join)
    .map(lambda body: body + b"\r\n")
)


@settings(max_examples=60, deadline=None)
@given(BODIES, st.sampled_from(["relaxed/relaxed", "simple/simple"]))
def test_every_body_has_the_form_that_dkimpy_gives_it(body: bytes, form: str) -> None:
    check(signed(b"From: anna@example.com\r\n\r\n" + body, form=form))


@pytest.mark.parametrize(
    ("change", "result"),
    [
        pytest.param(lambda raw: raw.replace(b"there", b"where"), "fail", id="body-changed"),
        pytest.param(lambda raw: raw.replace(b"folded", b"faded"), "fail", id="subject-changed"),
        pytest.param(lambda raw: b"From: eve@example.org\r\n" + raw, "fail", id="from-on-top"),
        pytest.param(lambda raw: raw.replace(b"From: Anna", b"FROM:   Anna"), None, id="relaxed-lets-blanks-change"),
        pytest.param(lambda raw: raw.replace(b"a=rsa-sha256", b"a=rsa-sha1"), "permerror", id="sha1-RFC8301"),
        pytest.param(lambda raw: raw.replace(b"v=1;", b"v=2;"), "permerror", id="version"),
        pytest.param(lambda raw: raw.replace(b"v=1;", b"v=1; v=1;"), "permerror", id="tag-twice"),
        pytest.param(lambda raw: raw.replace(b"v=1;", b"v=1; x=1000;"), "fail", id="expired"),
        pytest.param(lambda raw: raw.replace(b"v=1;", b"v=1; t=abc;", 1), "permerror", id="time-no-number"),
        pytest.param(lambda raw: raw.replace(b"d=example.com", b"d=ex ample"), "permerror", id="domain"),
        pytest.param(lambda raw: raw.replace(b"i=@example.com", b"i=@example.org"), "permerror", id="identity"),
        pytest.param(lambda raw: re.sub(rb"h=[^;]*;", b"h=to : subject;", raw), "permerror", id="from-unsigned"),
        pytest.param(lambda raw: re.sub(rb"bh=[^;]*;", b"bh=!!;", raw), "permerror", id="base64"),
        pytest.param(lambda raw: raw.replace(b"q=dns/txt", b"q=other"), "permerror", id="query"),
        pytest.param(lambda raw: raw.replace(b"c=relaxed/relaxed", b"c=loose"), "permerror", id="form"),
    ],
)
def test_what_has_changed(change: Callable[[bytes], bytes], result: str | None) -> None:
    raw = change(signed())
    assert raw != signed()
    if result is None:
        check(raw)
        return
    with pytest.raises(Unverified) as caught:
        check(raw)
    assert caught.value.result == result


@pytest.mark.parametrize(
    "record",
    [
        pytest.param("v=DKIM1; p=", id="revoked"),
        pytest.param("v=DKIM2; p=" + RSA_P, id="version"),
        pytest.param("v=DKIM1; k=ed25519; p=" + EDWARDS_P, id="another-algorithm"),
        pytest.param("v=DKIM1; h=sha1; p=" + RSA_P, id="hash"),
        pytest.param("v=DKIM1; s=tlsrpt; p=" + RSA_P, id="service"),
        pytest.param("v=DKIM1; p=" + b64encode(b"nonsense").decode(), id="no-key"),
        pytest.param("a page about mail", id="no-record"),
    ],
)
def test_keys_of_no_use(record: str) -> None:
    with pytest.raises(Unverified) as caught:
        check(signed(), record)
    assert caught.value.result == "permerror"


def test_short_keys_and_other_keys() -> None:
    small = rsa.generate_private_key(65537, 1024).public_key()
    der = small.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
    with pytest.raises(Unverified) as caught:
        check(signed(), "p=" + b64encode(der).decode())
    assert (caught.value.result, caught.value.reason) == ("fail", "signature")


def test_what_a_signature_leaves_out_of_the_body_is_not_vouched_for() -> None:
    """RFC 6376 §8.2."""
    raw = signed(length=True)
    check(raw)
    with pytest.raises(Unverified) as caught:
        check(raw + b"and more\r\n")
    assert caught.value.result == "policy"


PIECES = st.sampled_from(
    [b"DKIM-Signature: ", b"v=1; ", b"a=rsa-sha256; ", b"b=", b"AAAA", b"; ", b"h=from", b"\r\n", b" ", b"\xff",
     b"d=x; s=y; ", b"bh=AA==; ", b"l=", b"9" * 30, b"i=", b"ARC-Seal: ", b"ARC-Message-Signature: ",
     b"c=simple/", b"="]
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(PIECES, max_size=30).map(b"".join), st.text(max_size=60))
def test_whatever_there_is_only_fails_to_verify(block: bytes, record: str) -> None:
    received = parsed(b"DKIM-Signature: " + block + b"\r\n\r\nx")
    for read in (lambda: read_sets(received, NOW), lambda: read_key([record, "p=" + record], "rsa")):
        with contextlib.suppress(Unverified):
            read()
    for field in received.by_name[b"dkim-signature"]:
        with contextlib.suppress(Unverified):
            signature = read_signature(field, NOW)
            verify(received, signature, KEY, received.hashes([signature])[signature.simple_body, signature.length])


# -- ARC ---------------------------------------------------------------------------------------------------------------


def lookup(name: bytes, timeout: int = 5) -> bytes:
    return RECORD.encode()


def sealed(raw: bytes, domain: bytes = b"relay.example") -> bytes:
    earlier = b"; arc=pass" if b"ARC-Seal" in raw else b""
    results = b"Authentication-Results: relay.example; dkim=pass header.d=example.com" + earlier + b"\r\n" + raw
    lines: Sequence[bytes] = dkim.arc_sign(results, b"arc", domain, PEM, b"relay.example")
    assert lines
    return b"".join(lines) + results


def chain(raw: bytes) -> int:
    received = parsed(raw)
    sets = read_sets(received, NOW)
    newest = message_signature(sets, NOW)
    body = received.hashes([newest])[newest.simple_body, newest.length]

    def key(signature: Signature) -> Key:
        return read_key([RECORD], signature.algorithm)

    check_chain(received, sets, newest, body, key)
    return len(sets)


def test_chains_of_dkimpy_verify() -> None:
    once = sealed(signed())
    assert chain(once) == 1
    twice = sealed(once, b"second.example")
    assert chain(twice) == 2
    assert dkim.arc_verify(twice, dnsfunc=lookup)[0] == b"pass"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda raw: raw.replace(b"there", b"where"), id="body-changed"),
        pytest.param(lambda raw: raw.replace(b"i=2; relay.example", b"i=2; other.example"), id="results-changed"),
        pytest.param(lambda raw: raw.replace(b"cv=pass", b"cv=fail"), id="hop-says-fail"),
        pytest.param(lambda raw: raw.replace(b"ARC-Seal: i=1", b"ARC-Seal: i=3"), id="gap"),
        pytest.param(lambda raw: raw.replace(b"ARC-Seal: i=1", b"ARC-Seal: i=2"), id="twice"),
        pytest.param(lambda raw: raw.replace(b"ARC-Seal: i=1", b"ARC-Sea: i=1"), id="missing"),
        pytest.param(lambda raw: raw.replace(b"i=1; relay.example", b"i=1; other.example"), id="older-results-changed"),
    ],
)
def test_broken_chains(change: Callable[[bytes], bytes]) -> None:
    whole = sealed(sealed(signed()), b"second.example")
    raw = change(whole)
    assert raw != whole
    with pytest.raises(Unverified):
        chain(raw)
    assert dkim.arc_verify(raw, dnsfunc=lookup)[0] != b"pass"


def test_no_chain_is_no_chain() -> None:
    assert read_sets(parsed(MESSAGE), NOW) == []
