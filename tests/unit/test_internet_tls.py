"""Protection on the way, in a small Internet: DANE, MTA-STS, REQUIRETLS, `TLS-Required: No`; what is noted of it."""

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from duckmail.model.queue import Letter, OutboundEnvelope, Outcome, QueueRecipient
from duckmail.model.transport import Failure, Found
from duckmail.services.queue.routing import Exchange
from duckmail.services.queue.slots import Pace, Slots
from storage.store import Store
from storage.stspolicies import StsRecord
from tests.support.internet import Host, Internet, Naming, internet
from tests.support.letters import Pieces

OCTETS = b"From: a@here.test\r\nSubject: hello\r\n\r\nhello\r\n"
POLICY = "version: STSv1\nmode: {}\nmx: {}\nmax_age: 86400\n"
POLICIES = {
    "enforce.test": POLICY.format("enforce", "mx.good.test"),
    "wild.test": POLICY.format("enforce", "*.good.test"),
    "elsewhere.test": POLICY.format("enforce", "mx.other.test"),
    "enforce-strange.test": POLICY.format("enforce", "mx.strange.test"),
    "enforce-plain.test": POLICY.format("enforce", "mx.plain.test"),
    "enforce-expired.test": POLICY.format("enforce", "mx.expired.test"),
    "enforce-named.test": POLICY.format("enforce", "mx.named.test"),
    "second.test": POLICY.format("enforce", "mx.good.test"),
    "testing.test": POLICY.format("testing", "mx.strange.test"),
    "testing-plain.test": POLICY.format("testing", "mx.plain.test"),
    "testing-good.test": POLICY.format("testing", "mx.good.test"),
    "none.test": POLICY.format("none", "mx.good.test"),
    "garbage.test": "<html>",
    "dane-sts.test": POLICY.format("enforce", "mx.other.test"),
    "required.test": POLICY.format("enforce", "mx.requiring.test"),
}
MX = {
    "open.test": "mx.strange.test",
    "plain.test": "mx.plain.test",
    "broken.test": "mx.broken.test",
    **{domain: "mx.good.test" for domain in ("enforce.test", "wild.test", "elsewhere.test", "none.test")},
    "enforce-strange.test": "mx.strange.test",
    "enforce-plain.test": "mx.plain.test",
    "enforce-expired.test": "mx.expired.test",
    "enforce-named.test": "mx.named.test",
    "testing.test": "mx.strange.test",
    "testing-plain.test": "mx.plain.test",
    "testing-good.test": "mx.good.test",
    "garbage.test": "mx.strange.test",
    "lost.test": "mx.strange.test",
    "dane-ee.test": "mx.ee.test",
    "dane-ta.test": "mx.ta.test",
    "dane-ta-name.test": "mx.ta-name.test",
    "dane-wrong.test": "mx.wrong.test",
    "dane-plain.test": "mx.dane-plain.test",
    "dane-unusable.test": "mx.unusable.test",
    "dane-servfail.test": "mx.servfail.test",
    "dane-insecure.test": "mx.insecure.test",
    "dane-sts.test": "mx.ee.test",
    "insecure-mx.test": "mx.wrong.test",
}
VALIDATED = {
    *(domain for domain in MX if domain.startswith("dane-")),
    *("ee.test", "ta.test", "ta-name.test", "wrong.test", "dane-plain.test", "unusable.test", "servfail.test"),
}


def hosts() -> list[Host]:
    return [
        Host("mx.good.test", tls=True),
        Host("mx.strange.test", tls=True, stranger=True),
        Host("mx.plain.test"),
        Host("mx.broken.test", broken_tls=True),
        Host("mx.expired.test", tls=True, expired=True),
        Host("mx.named.test", tls=True, names=("another.test",)),
        Host("mx.ee.test", tls=True, stranger=True, expired=True, names=("nobody.test",)),
        Host("mx.ta.test", tls=True, names=("dane-ta.test",)),
        Host("mx.ta-name.test", tls=True, names=("nobody.test",)),
        Host("mx.wrong.test", tls=True),
        Host("mx.dane-plain.test"),
        Host("mx.unusable.test", tls=True, stranger=True),
        Host("mx.servfail.test", tls=True),
        Host("mx.insecure.test", tls=True),
        Host("mx.requiring.test", tls=True, offers=("REQUIRETLS",)),
    ]


def zone(net: Naming) -> str:
    lines = [f"{domain}. 60 IN MX 10 {host}." for domain, host in MX.items()]
    lines += ["second.test. 60 IN MX 10 mx.strange.test.", "second.test. 60 IN MX 20 mx.good.test."]
    lines += [f"{domain}. 60 IN MX 10 mx.requiring.test." for domain in ("required.test", "unproved.test")]
    lines += [f"{name}. 60 IN A {host.address}" for name, host in net.hosts.items()]
    lines += [f'_mta-sts.{domain}. 60 IN TXT "v=STSv1; id=a1"' for domain in (*POLICIES, "lost.test")]
    certificate = net.hosts["mx.ee.test"].certificate
    assert certificate is not None
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    anchor = hashlib.sha512(net.authority.certificate.public_bytes(Encoding.DER)).hexdigest()
    tlsa = {
        "mx.ee.test": f"3 1 1 {hashlib.sha256(key).hexdigest()}",
        "mx.ta.test": f"2 0 2 {anchor}",
        "mx.ta-name.test": f"2 0 2 {anchor}",
        "mx.wrong.test": f"3 1 1 {'00' * 32}",
        "mx.dane-plain.test": f"3 1 1 {'00' * 32}",
        "mx.unusable.test": f"1 1 1 {'00' * 32}",
        "mx.insecure.test": f"3 1 1 {'00' * 32}",
    }
    lines += [f"_{net.port}._tcp.{name}. 60 IN TLSA {record}" for name, record in tlsa.items()]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
async def net(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Internet]:
    async with internet(tmp_path_factory.mktemp("internet"), zone, hosts(), policies=POLICIES) as opened:
        opened.dns.validated |= VALIDATED
        opened.dns.broken.add(f"_{opened.port}._tcp.mx.servfail.test")
        yield opened


async def send(net: Internet, store: Store, domain: str, tls: str = "may", **more: bool) -> Outcome:
    """With everything switched on."""
    net.noted.clear()
    remote = net.remote(Slots(5, Pace()), tls=tls, records=store.sts_policies, dnssec=True)
    envelope = OutboundEnvelope("a@here.test", requiretls=more.pop("requiretls", False))
    letter = Letter(envelope, len(OCTETS), b"", Pieces(OCTETS), **more)
    [got] = await remote.send(Exchange(domain), letter, [QueueRecipient(f"c@{domain}")])
    net.courier.close()
    return got


def under_tls(net: Internet, domain: str) -> bool | None:
    """Whether it came so; None where it never came."""
    found = [mail.tls for host in net.hosts.values() for mail in host.taken if f"c@{domain}" in mail.recipients]
    return found[-1] if found else None


@pytest.mark.parametrize(
    ("domain", "tls", "found", "failure", "words"),
    [
        pytest.param("open.test", True, Found.NONE, None, "", id="any-certificate-without-a-policy"),
        pytest.param("plain.test", False, Found.NONE, Failure.NO_STARTTLS, "", id="no-tls-without-a-policy"),
        pytest.param("broken.test", False, Found.NONE, Failure.VALIDATION, "", id="broken-tls-without-a-policy"),
        pytest.param("enforce.test", True, Found.STS, None, "", id="sts"),
        pytest.param("wild.test", True, Found.STS, None, "", id="sts-by-a-pattern"),
        pytest.param("elsewhere.test", None, Found.STS, Failure.VALIDATION, "does not allow", id="sts-another-host"),
        pytest.param(
            "enforce-strange.test",
            None,
            Found.STS,
            Failure.NOT_TRUSTED,
            "self-signed",
            id="sts-self-signed",
        ),
        pytest.param("enforce-plain.test", None, Found.STS, Failure.NO_STARTTLS, "STARTTLS", id="sts-no-tls"),
        pytest.param("enforce-expired.test", None, Found.STS, Failure.EXPIRED, "expired", id="sts-expired"),
        pytest.param("enforce-named.test", None, Found.STS, Failure.HOST_MISMATCH, "ostname", id="sts-another-name"),
        pytest.param("second.test", True, Found.STS, None, "", id="sts-the-second-host-is-allowed"),
        pytest.param("testing.test", True, Found.STS, Failure.NOT_TRUSTED, "", id="sts-testing-goes-on"),
        pytest.param("testing-plain.test", False, Found.STS, Failure.NO_STARTTLS, "", id="sts-testing-without-tls"),
        pytest.param("testing-good.test", True, Found.STS, None, "", id="sts-testing-that-holds"),
        pytest.param("none.test", True, Found.NONE, None, "", id="sts-none"),
        pytest.param("garbage.test", True, Found.STS, Failure.STS_INVALID, "", id="sts-no-policy-at-all"),
        pytest.param("lost.test", True, Found.STS, Failure.STS_FETCH, "", id="sts-not-to-be-had"),
        pytest.param("dane-ee.test", True, Found.TLSA, None, "", id="dane-by-key-whatever-the-name-and-the-time"),
        pytest.param("dane-ta.test", True, Found.TLSA, None, "", id="dane-by-authority-and-the-domain"),
        pytest.param(
            "dane-ta-name.test", None, Found.TLSA, Failure.VALIDATION, "TLSA", id="dane-by-authority-for-another-name"
        ),
        pytest.param("dane-wrong.test", None, Found.TLSA, Failure.VALIDATION, "TLSA", id="dane-another-key"),
        pytest.param("dane-plain.test", None, Found.TLSA, Failure.NO_STARTTLS, "STARTTLS", id="dane-no-tls"),
        pytest.param("dane-unusable.test", True, Found.TLSA, None, "", id="dane-unusable-records-encrypt"),
        pytest.param("dane-servfail.test", None, Found.TLSA, Failure.DNSSEC_INVALID, "TLSA", id="dane-no-answer"),
        pytest.param("dane-insecure.test", True, Found.NONE, None, "", id="dane-addresses-nobody-vouches-for"),
        pytest.param("dane-sts.test", True, Found.TLSA, None, "", id="dane-before-sts"),
        pytest.param("insecure-mx.test", True, Found.NONE, None, "", id="dane-exchangers-nobody-vouches-for"),
    ],
)
async def test_policies(
    net: Internet, store: Store, domain: str, tls: bool | None, found: Found, failure: Failure | None, words: str
) -> None:
    got = await send(net, store, domain)
    assert got.accepted == (tls is not None), got
    assert under_tls(net, domain) is tls
    assert words in got.text
    assert not got.permanent, "what is wrong with TLS may be mended"
    notes = [(note.applied.found, note.failure) for note in net.noted if note.applied.domain == domain]
    assert (found, failure) in notes, net.noted


@pytest.mark.parametrize(
    ("domain", "more", "code", "tls"),
    [
        pytest.param("required.test", {"requiretls": True}, 250, True, id="requiretls-by-sts"),
        pytest.param("unproved.test", {"requiretls": True}, 550, None, id="requiretls-nothing-proves-the-host"),
        pytest.param("enforce.test", {"requiretls": True}, 550, None, id="requiretls-not-offered"),
        pytest.param("enforce-plain.test", {"tls_waived": True}, 250, False, id="waived-sts"),
        pytest.param("dane-wrong.test", {"tls_waived": True}, 250, True, id="waived-dane"),
        pytest.param("enforce-strange.test", {"tls_waived": True, "requiretls": True}, 0, None, id="requiretls-wins"),
    ],
)
async def test_what_a_message_asks_for(
    net: Internet, store: Store, domain: str, more: dict[str, bool], code: int, tls: bool | None
) -> None:
    for host in net.hosts.values():
        host.taken.clear()
    got = await send(net, store, domain, **more)
    assert got.code == code, got
    assert under_tls(net, domain) is tls
    if code == 550:
        assert got.status == "5.7.30"
    if more.get("requiretls") and tls:
        assert "REQUIRETLS" in net.hosts["mx.requiring.test"].taken[-1].parameters


@pytest.mark.parametrize("domain", ["open.test", "dane-unusable.test", "testing.test", "none.test"])
async def test_no_domain_makes_it_weaker(net: Internet, store: Store, domain: str) -> None:
    """`none.test` has a server whose certificate verifies."""
    got = await send(net, store, domain, tls="verify")
    assert got.accepted == (domain == "none.test"), got


@pytest.mark.parametrize("domain", ["enforce.test", "dane-ee.test"])
async def test_without_tls_nobody_is_asked(net: Internet, store: Store, domain: str) -> None:
    assert (await send(net, store, domain, tls="never")).accepted
    assert under_tls(net, domain) is False
    assert net.noted == []


async def test_a_policy_holds_though_the_domain_hides_it(net: Internet, store: Store) -> None:
    assert (await send(net, store, "enforce.test")).accepted
    kept = await store.sts_policies.get("enforce.test")
    assert kept is not None
    strict = POLICY.format("enforce", "mx.other.test").encode()
    await store.sts_policies.put(StsRecord("lost.test", "a0", strict, kept.expires, kept.refresh))
    got = await send(net, store, "lost.test")
    assert (got.code, got.status) == (0, "4.7.5"), "what was learned holds while the new one cannot be had"
    over = datetime.now(UTC) - timedelta(seconds=1)
    await store.sts_policies.put(StsRecord("lost.test", "a0", strict, over, over))
    assert (await send(net, store, "lost.test")).accepted


async def test_policies_are_fetched_anew_before_their_time_is_over(net: Internet, store: Store) -> None:
    now = datetime.now(UTC)
    old = POLICY.format("enforce", "mx.other.test").encode()
    for domain in ("enforce.test", "lost.test"):
        soon = now + timedelta(hours=1)
        await store.sts_policies.put(StsRecord(domain, "a1", old, soon, now - timedelta(seconds=1)))
    assert await net.policies(store.sts_policies).refreshed() == {"fetched": 1, "failed": 1}
    fresh, kept = await store.sts_policies.get("enforce.test"), await store.sts_policies.get("lost.test")
    assert fresh is not None
    assert kept is not None
    assert (fresh.body, kept.body) == (POLICIES["enforce.test"].encode(), old)
    assert fresh.expires > now + timedelta(hours=23)
    assert await store.sts_policies.stale(10) == []
