"""The test suite of ValiMail for ARC, against DNS of a real server: `tests/suites/arc-*-tests.yml`.

It was written beside draft 18 of what is RFC 8617 now; `DECIDED` has the cases where the RFCs have it otherwise.
"""

import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import dkim
import pytest
import yaml  # type: ignore[import-untyped]
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from duckmail.clients.dns import Dns
from duckmail.mime.arcseal import Chain, continued, sealed
from duckmail.mime.dkim import BodyHash, Identity, read_header, relaxed
from duckmail.mime.dkimverify import Key, Received, check_octets, read_key, read_signature, tags, unsigned, verify
from duckmail.mime.header import Field, fields
from duckmail.mime.headerblock import block_of
from duckmail.mime.lineends import LineEnds
from duckmail.model.envelope import Envelope
from duckmail.runtime.threads import Pool
from duckmail.services.dkim import keys
from duckmail.services.mailauth.verifier import Policy, Verifier
from tests.support.dns_server import DnsServer, Zone, dns_server

SUITES = Path(__file__).parents[1] / "suites"
DECIDED = {
    # RFC 8617 §5.2 step 2: a chain whose last seal says fail is one that fails; the draft had no word for it.
    "cv_fail_i1_as_cv_fail": "fail",
    "cv_fail_i2_as2_fail": "fail",
    "cv_fail_i2_as1_fail": "fail",
    # RFC 8301 §3.1: rsa-sha1 must not be taken.
    "ams_fields_a_sha1": "fail",
    "as_fields_a_sha1": "fail",
    # RFC 6376 §5.4: From must be signed.
    "ams_fields_h_empty": "fail",
}
FIELDS = {"AS": "ARC-Seal", "AMS": "ARC-Message-Signature", "AAR": "ARC-Authentication-Results"}


def scenarios(file: str) -> Iterator[Mapping[str, Any]]:
    with (SUITES / file).open(encoding="utf-8") as stream:
        yield from yaml.safe_load_all(stream)


def zone_of(scenario: Mapping[str, Any]) -> Zone:
    texts: Mapping[str, str] = scenario["txt-records"]
    return {(name.lower(), "TXT"): ["".join(text.split("\n"))] for name, text in texts.items()}


def octets_of(text: str) -> bytes:
    ends = LineEnds()
    return ends.feed(text.encode()) + ends.finish()


def validation() -> Iterator[Any]:
    for scenario in scenarios("arc-validation-tests.yml"):
        zone = zone_of(scenario)
        for name, test in scenario["tests"].items():
            result = DECIDED.get(name, str(test["cv"]).lower())
            yield pytest.param(zone, octets_of(test["message"]), result, id=name)


def signing() -> Iterator[Any]:
    for scenario in scenarios("arc-sign-tests.yml"):
        for name, test in scenario["tests"].items():
            yield pytest.param(scenario, test, id=name)


@asynccontextmanager
async def verifying() -> AsyncIterator[tuple[DnsServer, Verifier]]:
    async with dns_server({}) as server:
        dns = Dns([server.address], timeout=30, tries=1, deadline=60)
        pool = Pool("arc-suite", 1)
        yield server, Verifier(dns, pool, Policy("mx.test", 60))
        await dns.close()
        pool.close()


@pytest.fixture(scope="module")
async def site() -> AsyncIterator[tuple[DnsServer, Verifier]]:
    async with verifying() as made:
        yield made


async def arc_of(site: tuple[DnsServer, Verifier], zone: Zone, raw: bytes) -> str:
    server, verifier = site
    server.zone = dict(zone)
    found = (await verifier.check(Envelope("", trusted=True), raw, block_of(raw))).found
    return found.arc.result if found.arc is not None else "none"


@pytest.mark.parametrize(("zone", "raw", "result"), list(validation()))
async def test_validation(site: tuple[DnsServer, Verifier], zone: Zone, raw: bytes, result: str) -> None:
    assert await arc_of(site, zone, raw) == result


def wanted(test: Mapping[str, Any], name: str) -> bytes:
    """A field of the expected set. The white space within values is the suite's way to fit a page."""
    text = " ".join(test[name].split())
    if name != "AAR":
        text = "; ".join(f"{tag}={value.replace(' ', '')}" for tag, value in tags(text.encode()).items())
    return f"{FIELDS[name]}: {text}\r\n".encode()


def covered(seal: bytes, message: bytes, results: bytes, chain: Chain) -> bytes:
    """RFC 8617 §5.1.1: what a seal signs."""
    return chain.fields + relaxed(results) + relaxed(message) + relaxed(unsigned(seal)).removesuffix(b"\r\n")


def check_set(seal: bytes, message: bytes, results: bytes, chain: Chain, raw: bytes, key: Key) -> None:
    """Raises: Unverified: its signature is not of `raw`, or its seal not of the chain."""
    now = time.time()
    block = block_of(raw)
    received = Received(message + block, lambda: [raw[len(block) + 4 :]])
    signature = read_signature(field_of(message), now, arc=True)
    digest = received.hashes([signature])[signature.simple_body, signature.length]
    verify(received, signature, key, digest)
    check_octets(read_signature(field_of(seal), now, seal=True), key, covered(seal, message, results, chain))


def field_of(raw: bytes) -> Field:
    (field,) = fields(raw)
    return field


def chain_of(raw: bytes) -> Chain | None:
    """What a set is added to, by what the message's Authentication-Results have of ARC."""
    block = block_of(raw) + b"\r\n"
    found = re.search(rb"; arc=(\w+)", block.partition(b"\r\nARC-")[0])
    return continued(block, b"lists.example.org; arc=" + (found[1] if found else b"none"))


@pytest.mark.parametrize(("scenario", "test"), list(signing()))
def test_sealing(scenario: Mapping[str, Any], test: Mapping[str, Any]) -> None:
    """The set that the suite expects verifies here; ours is the same in all that does not depend on a signer's way to
    write, and verifies with dkimpy."""
    raw = octets_of(test["message"])
    chain = chain_of(raw)
    if not test["AS"].strip():
        assert chain is None
        return
    assert chain is not None
    seal, message, results = (wanted(test, name) for name in FIELDS)
    record = zone_of(scenario)[f"{scenario['sel']}._domainkey.{scenario['domain']}", "TXT"][0]
    key = read_key([record], "rsa")
    check_set(seal, message, results, chain, raw, key)

    block = block_of(raw) + b"\r\n"
    header = read_header(block)
    assert header is not None
    body = BodyHash()
    body.feed(raw[len(block) + 2 :])
    digest = body.digest()
    private = serialization.load_pem_private_key(scenario["privatekey"].encode(), None)
    assert isinstance(private, RSAPrivateKey)
    identity = Identity(scenario["domain"], scenario["sel"], "rsa")
    at = datetime.fromtimestamp(int(test["t"]), UTC)
    words = results.partition(b";")[2].strip()
    made = sealed(chain, identity, header, digest, results=words, at=at, sign=partial(keys.sign, private))
    ours = fields(made)
    theirs = {name: tags(wanted(test, name).partition(b":")[2]) for name in ("AS", "AMS")}
    same = {"AS": ("i", "a", "cv", "d", "s", "t"), "AMS": ("i", "a", "c", "bh", "d", "s", "t")}
    for field, (name, compared) in zip(ours, same.items(), strict=False):
        assert field.name.decode() == FIELDS[name]
        found = tags(field.value)
        assert {tag: found[tag] for tag in compared} == {tag: theirs[name][tag] for tag in compared}
    assert relaxed(ours[2].raw) == relaxed(results)

    by_dkimpy = dkim.ARC(made + raw).verify(dnsfunc=lambda name, timeout=5: record.encode())[1][0]
    # Of a chain that has failed dkimpy looks at all sets, where §5.1.2 has the last one alone.
    assert (by_dkimpy["ams-valid"], by_dkimpy["as-valid"] or chain.cv == "fail") == (True, True)
    check_set(ours[0].raw, ours[1].raw, ours[2].raw, chain, raw, key)
