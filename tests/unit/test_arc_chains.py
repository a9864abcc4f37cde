"""ARC chains that the public suite does not have: long ones, expiry, limits of what is signed, keys that are not there.

The sets are made here with the canonical forms of dkimpy, and shown to dkimpy where it has an opinion.
"""

import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from hashlib import sha256

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from dkim.canonicalization import CanonicalizationPolicy

from duckmail.clients.dns import Dns
from duckmail.mime.headerblock import block_of
from duckmail.model.envelope import Envelope
from duckmail.runtime.threads import Pool
from duckmail.services.mailauth.verifier import Policy, Verifier
from tests.support.dns_server import SERVFAIL, Zone, dns_server

RSA = rsa.generate_private_key(65537, 2048)
EDWARDS = ed25519.Ed25519PrivateKey.generate()
P = b64encode(RSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
P_EDWARDS = b64encode(EDWARDS.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
ZONE: Zone = {
    ("rsa._domainkey.hop.test", "TXT"): [f"v=DKIM1; p={P}"],
    ("ed._domainkey.hop.test", "TXT"): [f"v=DKIM1; k=ed25519; p={P_EDWARDS}"],
    ("sloppy._domainkey.hop.test", "TXT"): [f"v=DKIM1;; k=rsa; ; p={P};"],
    ("two._domainkey.hop.test", "TXT"): ["v=spf1 -all", f"v=DKIM1; p={P}"],
    ("revoked._domainkey.hop.test", "TXT"): ["v=DKIM1; p="],
    ("sha1._domainkey.hop.test", "TXT"): [f"v=DKIM1; h=sha1; p={P}"],
    ("web._domainkey.hop.test", "TXT"): [f"v=DKIM1; s=web; p={P}"],
    ("down._domainkey.hop.test", "TXT"): SERVFAIL,
}
NOW = int(time.time())
MESSAGE = b"From: a@b.test\r\nSubject: one\r\n\r\nHello  you\r\n"
_RELAXED = CanonicalizationPolicy.from_c_value(b"relaxed/relaxed")


@dataclass(frozen=True)
class Hop:
    """A set to be added. `message`, `seal`: more tags of the two; `body`: octets of the body that are hashed."""

    cv: str = ""
    message: str = ""
    seal: str = ""
    selector: str = "rsa"
    sealer: str = ""
    fields: str = "from:subject"
    form: str = "relaxed/relaxed"
    body: int | None = None
    instance: str = ""


def relaxed(raw: bytes) -> bytes:
    name, _, value = raw.partition(b":")
    return b"".join(left + b":" + right for left, right in _RELAXED.canonicalize_headers([(name, value)]))


def signature(selector: str, octets: bytes) -> str:
    if selector == "ed":
        return b64encode(EDWARDS.sign(sha256(octets).digest())).decode()
    return b64encode(RSA.sign(octets, padding.PKCS1v15(), SHA256())).decode()


def sets_of(raw: bytes) -> list[bytes]:
    """The fields of ARC in the order in which seals cover them: results, message, seal of each hop."""
    lines = [line + b"\r\n" for line in raw.partition(b"\r\n\r\n")[0].split(b"\r\n") if line.startswith(b"ARC-")]
    return lines[::-1]


def sealed(raw: bytes, hop: Hop) -> bytes:
    """`raw` with one set more on top. Its fields are written on one line each."""
    earlier = sets_of(raw)
    number = len(earlier) // 3 + 1
    instance = hop.instance or str(number)
    cv = hop.cv or ("none" if number == 1 else "pass")
    header, _, body = raw.partition(b"\r\n\r\n")
    policy = CanonicalizationPolicy.from_c_value(hop.form.encode())
    digest = b64encode(sha256(policy.canonicalize_body(body)[: hop.body]).digest()).decode()
    results = f"ARC-Authentication-Results: i={instance}; hop.test; arc={cv}\r\n".encode()

    def algorithm(selector: str) -> str:
        return "ed25519-sha256" if selector == "ed" else "rsa-sha256"

    message = (
        f"ARC-Message-Signature: i={instance}; a={algorithm(hop.selector)}; c={hop.form}; d=hop.test; "
        f"s={hop.selector}; h={hop.fields}; bh={digest};{hop.message} b="
    )
    named = [line.encode() for line in hop.fields.split(":")]
    lines = header.split(b"\r\n")
    chosen = [line for name in named for line in lines if line.lower().startswith(name + b":")]
    octets = b"".join(
        name + b":" + value
        for line in (*(each + b"\r\n" for each in chosen), message.encode())
        for name, value in policy.canonicalize_headers([tuple(line.split(b":", 1))])
    )
    message += signature(hop.selector, octets.removesuffix(b"\r\n")) + "\r\n"
    sealer = hop.sealer or hop.selector
    seal = f"ARC-Seal: i={instance}; a={algorithm(sealer)}; cv={cv}; d=hop.test; s={sealer};{hop.seal} b="
    covered = b"".join(map(relaxed, (*earlier, results, message.encode(), seal.encode())))
    seal += signature(sealer, covered.removesuffix(b"\r\n")) + "\r\n"
    return seal.encode() + message.encode() + results + raw


def chain(*hops: Hop) -> bytes:
    raw = MESSAGE
    for hop in hops:
        raw = sealed(raw, hop)
    return raw


@pytest.fixture(scope="module")
async def verifier() -> AsyncIterator[Verifier]:
    async with dns_server(ZONE) as server:
        dns = Dns([server.address], timeout=30, tries=1, deadline=60)
        pool = Pool("arc-chains", 1)
        yield Verifier(dns, pool, Policy("mx.test", 60))
        await dns.close()
        pool.close()


async def result(verifier: Verifier, raw: bytes) -> str:
    found = (await verifier.check(Envelope("", trusted=True), raw, block_of(raw))).found
    assert found.arc is not None
    return found.arc.result


def by_dkimpy(raw: bytes) -> bytes | None:
    def txt(name: bytes, timeout: int = 5) -> bytes:
        found = ZONE.get((name.decode().removesuffix("."), "TXT"), "")
        return found[-1].encode() if found and found != SERVFAIL else b""

    found: bytes | None = dkim.arc_verify(raw, dnsfunc=txt)[0]
    return found


@pytest.mark.parametrize(
    "hops",
    [
        pytest.param([Hop()], id="one"),
        pytest.param([Hop()] * 3, id="three"),
        pytest.param([Hop(selector="ed")] * 50, id="rfc8617-4.2.1-fifty"),
        pytest.param([Hop(selector="ed"), Hop(), Hop(selector="ed", sealer="rsa")], id="two-algorithms"),
        pytest.param([Hop(form="simple/simple"), Hop(form="relaxed/simple"), Hop(form="simple")], id="forms"),
        pytest.param([Hop(message=f" t={NOW}; x={NOW + 9999};", seal=f" t={NOW};")], id="not-expired"),
        pytest.param([Hop(message=" l=11;")], id="whole-length"),
        pytest.param([Hop(fields="from:subject:list-id:list-id")], id="fields-that-are-not-there"),
        pytest.param([Hop(selector="two")], id="key-beside-another-record"),
        pytest.param([Hop(), Hop(selector="sloppy")], id="key-written-by-hand"),
    ],
)
async def test_whole_chains(verifier: Verifier, hops: list[Hop]) -> None:
    raw = chain(*hops)
    assert await result(verifier, raw) == "pass"
    if all(hop.selector == "rsa" for hop in hops):  # what dkimpy knows without a further library
        assert by_dkimpy(raw) == b"pass"


@pytest.mark.parametrize(
    ("hops", "found"),
    [
        pytest.param([Hop(selector="ed")] * 51, "fail", id="rfc8617-4.2.1-fifty-one"),
        pytest.param([Hop(instance="0")], "fail", id="instance-0"),
        pytest.param([Hop(instance="2")], "fail", id="begins-with-2"),
        pytest.param([Hop(instance="1.0")], "fail", id="instance-no-number"),
        pytest.param([Hop(), Hop(instance="1")], "fail", id="instance-twice"),
        pytest.param([Hop(), Hop(instance="3")], "fail", id="instance-left-out"),
        pytest.param([Hop(cv="pass")], "fail", id="first-has-a-chain"),
        pytest.param([Hop(), Hop(cv="none")], "fail", id="second-has-none"),
        pytest.param([Hop(), Hop(cv="fail")], "fail", id="second-says-fail"),
        pytest.param([Hop(), Hop(cv="fail"), Hop()], "fail", id="rfc8617-5.2-3c-middle-says-fail"),
        pytest.param([Hop(cv="maybe")], "fail", id="other-status"),
        pytest.param([Hop(seal=" h=from;")], "fail", id="rfc8617-4.1.3-seal-with-h"),
        pytest.param([Hop(), Hop(fields="from:arc-seal")], "fail", id="rfc8617-4.1.2-seal-is-signed"),
        pytest.param([Hop(fields="subject")], "fail", id="rfc6376-5.4-from-not-signed"),
        pytest.param([Hop(message=f" t={NOW - 99}; x={NOW - 9};")], "fail", id="expired"),
        pytest.param([Hop(message=f" t={NOW + 9999};")], "fail", id="signed-tomorrow"),
        pytest.param([Hop(seal=f" t={NOW + 9999};")], "fail", id="sealed-tomorrow"),
        pytest.param([Hop(message=" l=5;", body=5)], "fail", id="rfc6376-8.2-part-of-the-body"),
        pytest.param([Hop(message=" a=rsa-sha256;")], "fail", id="tag-twice"),
        pytest.param([Hop(message=" q=other;")], "fail", id="query-method"),
        pytest.param([Hop(selector="none")], "fail", id="no-key"),
        pytest.param([Hop(selector="revoked")], "fail", id="key-revoked"),
        pytest.param([Hop(selector="sha1")], "fail", id="key-for-sha1"),
        pytest.param([Hop(selector="web")], "fail", id="key-for-other-services"),
        pytest.param([Hop(selector="down")], "temperror", id="no-answer"),
        pytest.param([Hop(sealer="down"), Hop()], "temperror", id="no-answer-for-an-earlier-seal"),
    ],
)
async def test_chains_that_are_none(verifier: Verifier, hops: list[Hop], found: str) -> None:
    assert await result(verifier, chain(*hops)) == found


@pytest.mark.parametrize(
    ("change", "found"),
    [
        pytest.param(lambda raw: b"".join(sets_of(raw)) + raw[raw.index(b"From:") :], "pass", id="other-order"),
        pytest.param(lambda raw: raw.replace(b"; cv=", b";\r\n\tcv="), "pass", id="folded"),
        pytest.param(lambda raw: raw.replace(b"ARC-Seal:", b"aRC-seal :"), "pass", id="names-in-another-case"),
        pytest.param(lambda raw: raw.replace(b"Hello  you", b"Hello \t you  "), "pass", id="blanks-of-the-body"),
        pytest.param(lambda raw: b"X-New: 1\r\n" + raw, "pass", id="field-that-nobody-signed"),
        pytest.param(lambda raw: raw.replace(b"Hello  you", b"Hello  me"), "fail", id="body"),
        pytest.param(lambda raw: raw.replace(b"one", b"two"), "fail", id="subject"),
        pytest.param(lambda raw: raw.replace(b"i=1; hop.test;", b"i=1; hip.test;"), "fail", id="first-results"),
        pytest.param(lambda raw: raw.replace(b"ARC-Seal: i=1;", b"X-Seal: i=1;"), "fail", id="seal-left-out"),
        pytest.param(lambda raw: b"".join(sets_of(raw)[:1]) + raw, "fail", id="results-twice"),
        pytest.param(lambda raw: b"ARC-Seal: i=1;; cv=none\r\n" + raw, "fail", id="malformed-seal-on-top"),
        pytest.param(lambda raw: raw.replace(b"arc=none", b"arc=\xff"), "fail", id="octets-that-are-no-text"),
    ],
)
async def test_changed_on_the_way(verifier: Verifier, change: Callable[[bytes], bytes], found: str) -> None:
    whole = chain(Hop(), Hop())
    raw = change(whole)
    assert raw != whole
    assert await result(verifier, raw) == found


async def test_a_hop_may_change_what_an_earlier_one_signed(verifier: Verifier) -> None:
    """§5.2 step 4: only the newest message signature has to be of the message as it is."""
    first = sealed(MESSAGE, Hop())
    second = sealed(first.replace(b"Hello  you", b"Hello  you\r\n-- \r\nThe list"), Hop())
    assert await result(verifier, second) == "pass"
    assert by_dkimpy(second) == b"pass"
