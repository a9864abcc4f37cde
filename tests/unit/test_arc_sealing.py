"""Forwarded mail is sealed (RFC 8617): the next server can know what this one found out, whatever SPF says there."""

import re
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from duckmail.clients.dns import Dns
from duckmail.mime.arcseal import Chain, continued
from duckmail.mime.headerblock import block_of
from duckmail.model.address import view
from duckmail.model.envelope import Envelope
from duckmail.model.queue import State
from duckmail.model.spam import FLAGGED, Spam
from duckmail.runtime.threads import Pool
from duckmail.services.access import SYSTEM
from duckmail.services.dkim import keys
from duckmail.services.dkim.dkim import Dkim, NewKey
from duckmail.services.mailauth.verifier import Policy, Verifier
from tests.support.dns_server import Zone, dns_server
from tests.support.outbound import SEALER, Outbound, World, outbound

CLIENT = "93.184.216.34"
KEY = rsa.generate_private_key(65537, 2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
)
P = b64encode(
    KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
).decode()
AUTHOR = (
    b"From: writer@away.test\r\nTo: team@example.com\r\nSubject: one\r\nMessage-ID: <1@away.test>\r\n\r\nHello  you\r\n"
)


@dataclass
class Sealed:
    """A server that seals what it forwards, and the DNS that it and others see."""

    one: Outbound
    world: World
    zone: Zone
    dns: Dns
    pool: Pool

    async def forwarded(self, raw: bytes, sender: str = "writer@away.test") -> bytes:
        """As the next server gets it."""
        envelope = Envelope(sender, host=CLIENT, helo="away.test", client_address=CLIENT, trusted=True)
        named = [await self.one.delivery.recipient("team@example.com")]
        (verdict,) = await self.one.delivery.deliver(envelope, raw, named)
        assert verdict.error is None
        await self.one.all_ended()
        return self.world.taken[-1].octets

    async def found_elsewhere(self, octets: bytes) -> tuple[str, str, tuple[str, ...]]:
        """DMARC and ARC at the next hop, which has it from another address; and who sealed it."""
        there = Verifier(self.dns, self.pool, Policy("next.test", 5.0, junk=False))
        envelope = Envelope("x@example.com", host="93.184.216.35", client_address="93.184.216.35", trusted=True)
        found = (await there.check(envelope, octets, block_of(octets))).found
        assert found.dmarc is not None
        assert found.arc is not None
        return found.dmarc.result, found.arc.result, found.arc.sealers

    async def fate_elsewhere(self, octets: bytes, *trusted: str) -> tuple[int, str]:
        """At the next hop, which trusts these sealers: its score of spam, and what the author's policy makes of it."""
        there = Verifier(self.dns, self.pool, Policy("next.test", 5.0, sealers=frozenset(trusted)))
        envelope = Envelope("x@example.com", host="93.184.216.35", client_address="93.184.216.35", trusted=True)
        checked = await there.check(envelope, octets, block_of(octets))
        return checked.judged(Spam()).score, checked.found.disowned(frozenset(trusted))

    def by_dkimpy(self, octets: bytes) -> bytes:
        def txt(name: bytes, timeout: int = 5) -> bytes:
            found = self.zone.get((name.decode().removesuffix("."), "TXT"), [""])
            assert isinstance(found, list)
            return found[0].encode()

        result, _, _ = dkim.ARC(octets).verify(dnsfunc=txt)
        assert isinstance(result, bytes)
        return result


@asynccontextmanager
async def sealing(mongo_uri: str, database_name: str, algorithm: str = "rsa") -> AsyncIterator[Sealed]:
    zone: Zone = {
        ("away.test", "TXT"): [f"v=spf1 ip4:{CLIENT} -all"],
        ("_dmarc.away.test", "TXT"): ["v=DMARC1; p=reject"],
        ("sel._domainkey.away.test", "TXT"): [f"v=DKIM1; p={P}"],
        ("one._domainkey.first.test", "TXT"): [f"v=DKIM1; p={P}"],
    }
    world = World()
    async with dns_server(zone) as server:
        dns = Dns([server.address], timeout=2, tries=1, deadline=5)
        pool = Pool("verify", 1)
        verifier = Verifier(dns, pool, Policy("mx.example.com", 5.0, junk=False))
        async with outbound(mongo_uri, database_name, world, arc="example.com", verifier=verifier) as one:
            made = await Dkim(one.store.dkim, SEALER, pool).put(
                NewKey("example.com", "s1", algorithm=algorithm), SYSTEM
            )
            server.zone[("s1._domainkey.example.com", "TXT")] = [keys.dns_value(algorithm, made.keys[0].public)]
            await one.store.addresses.insert_forwarded("team@example.com", view("team@example.com"), ["c@far.test"])
            try:
                yield Sealed(one, world, server.zone, dns, pool)
            finally:
                await dns.close()
                pool.close()


def sealed_by_another(raw: bytes, *, cv: bytes = b"none") -> bytes:
    """With the set of a first hop, made by dkimpy."""
    results = b"Authentication-Results: first.test; arc=none; spf=pass smtp.mailfrom=away.test\r\n"
    lines = dkim.ARC(results + raw).sign(b"one", b"first.test", PEM, b"first.test", timestamp=str(int(time.time())))
    return b"".join(lines) + raw


async def test_the_next_hop_learns_that_dmarc_passed_here(mongo_uri: str, database_name: str) -> None:
    async with sealing(mongo_uri, database_name) as site:
        octets = await site.forwarded(AUTHOR)
        assert octets.endswith(b"\r\n" + AUTHOR)  # byte for byte
        assert await site.found_elsewhere(octets) == ("fail", "pass", ("example.com",))
        assert site.by_dkimpy(octets) == b"pass"
        assert await site.fate_elsewhere(octets, "example.com") == (0, "")
        assert await site.fate_elsewhere(octets, "other.test") == (FLAGGED, "reject")
        aar = re.search(
            rb"^ARC-Authentication-Results: i=1;\r\n\tmx\.example\.com;(.*?)\r\n(?![ \t])", octets, re.M | re.S
        )
        assert aar is not None
        assert b"spf=pass smtp.mailfrom=writer@away.test" in aar[1]
        assert b"dmarc=pass (p=reject) header.from=away.test" in aar[1]


async def test_an_intact_signature_of_the_author_passes_anyway(mongo_uri: str, database_name: str) -> None:
    async with sealing(mongo_uri, database_name) as site:
        signed = dkim.sign(AUTHOR, b"sel", b"away.test", PEM) + AUTHOR
        octets = await site.forwarded(signed)
        assert octets.endswith(b"\r\n" + signed)  # byte for byte
        assert await site.fate_elsewhere(octets) == (0, "")
        assert (await site.found_elsewhere(octets))[:2] == ("pass", "pass")


async def test_a_chain_is_continued(mongo_uri: str, database_name: str) -> None:
    async with sealing(mongo_uri, database_name) as site:
        octets = await site.forwarded(sealed_by_another(AUTHOR))
        assert await site.found_elsewhere(octets) == ("fail", "pass", ("first.test", "example.com"))
        assert site.by_dkimpy(octets) == b"pass"
        assert b"ARC-Seal: i=2; a=rsa-sha256; t=" in octets
        assert b"cv=pass" in octets


@pytest.mark.parametrize("changed", [b"Hello", b"Subject: one"])
async def test_a_broken_chain_stays_broken(mongo_uri: str, database_name: str, changed: bytes) -> None:
    async with sealing(mongo_uri, database_name) as site:
        octets = await site.forwarded(sealed_by_another(AUTHOR).replace(changed, changed + b"!"))
        assert b"ARC-Seal: i=2;" in octets
        assert b"cv=fail" in octets
        assert (await site.found_elsewhere(octets))[1] == "fail"
        # It has been said once; nobody needs to say it again.
        assert b"ARC-Seal: i=3" not in await site.forwarded(octets.replace(b"X-Duckmail-Forwarded", b"X-Other"))


async def test_what_is_changed_after_it_breaks_the_seal(mongo_uri: str, database_name: str) -> None:
    async with sealing(mongo_uri, database_name) as site:
        octets = await site.forwarded(AUTHOR)
        for old, new in ((b"Hello", b"Bye"), (b"dmarc=pass", b"dmarc=fail"), (b"cv=none", b"cv=pass")):
            assert old in octets
            assert (await site.found_elsewhere(octets.replace(old, new)))[1] == "fail"


async def test_results_that_the_message_brings_along_are_not_ours(mongo_uri: str, database_name: str) -> None:
    async with sealing(mongo_uri, database_name) as site:
        forged = b"Authentication-Results: mx.example.com; dmarc=pass header.from=bank.test\r\n"
        octets = await site.forwarded(forged + AUTHOR, sender="x@evil.test")
        assert b"bank.test" not in octets.partition(b"Received:")[0]
        assert (await site.found_elsewhere(octets))[1] == "pass"


async def test_ed25519_seals_too(mongo_uri: str, database_name: str) -> None:
    async with sealing(mongo_uri, database_name, "ed25519") as site:
        assert (await site.found_elsewhere(await site.forwarded(AUTHOR)))[1] == "pass"


async def test_own_mail_is_not_sealed(mongo_uri: str, database_name: str) -> None:
    async with sealing(mongo_uri, database_name) as site:
        assert await site.one.ended(await site.one.submit("c@far.test", raw=AUTHOR)) == [State.RELAYED]
        assert b"ARC-Seal" not in site.world.taken[-1].octets


@pytest.mark.parametrize(
    ("block", "results", "chain"),
    [
        pytest.param(b"From: a\r\n", b"mx; spf=pass", Chain(1, "none"), id="first"),
        pytest.param(b"ARC-Seal: i=1; cv=none\r\n", b"mx; arc=pass", None, id="set-incomplete"),
        pytest.param(b"ARC-Seal: i=1; cv=none\r\n", b"mx; arc=fail", Chain(2, "fail"), id="failed-here"),
        pytest.param(b"ARC-Seal: i=1; cv=fail\r\n", b"mx; arc=fail", None, id="failed-before"),
        pytest.param(b"ARC-Seal: i=1; cv=none\r\n", b"mx; arc=temperror", None, id="nobody-knows"),
        pytest.param(b"ARC-Seal: i=1; cv=none\r\n", b"mx; spf=pass", None, id="not-checked"),
        pytest.param(b"ARC-Seal: i=50; cv=pass\r\n", b"mx; arc=fail", None, id="too-long"),
        pytest.param(b"ARC-Seal: i=0; cv=none\r\n", b"mx; arc=fail", None, id="no-instance"),
        pytest.param(b"ARC-Seal: i=1; cv=none\r\nARC-Seal: i=1; cv=none\r\n", b"mx; arc=fail", None, id="twice"),
        pytest.param(b"ARC-Seal: nonsense\r\n", b"mx; arc=fail", None, id="nonsense"),
    ],
)
def test_what_a_set_is_added_to(block: bytes, results: bytes, chain: Chain | None) -> None:
    assert continued(block, results) == chain
