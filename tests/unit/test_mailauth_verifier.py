"""Incoming mail by LMTP with its sender checked: what is written above the message, and what cannot be made it say."""

from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import authres
import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from duckmail.clients.dns import Dns
from duckmail.model.mailauth import ArcResult, Authentication, DmarcResult, SpfResult
from duckmail.model.spam import FLAGGED, Spam
from duckmail.services.delivery import Delivery
from duckmail.services.inspection import Inspection
from duckmail.services.mailauth.header import ROOM, authentication_results
from duckmail.services.mailauth.verifier import DkimResult, Policy, Verifier
from protocols.lmtp.server import LmtpServer
from protocols.net.peer import Networks
from tests.support.dns_server import SILENCE, Zone, dns_server
from tests.support.lmtp import Lmtp, LmtpWorld

CLIENT = "93.184.216.34"
FORGED = "Authentication-Results: mx.example; spf=pass smtp.mailfrom=bank.example; dkim=pass header.d=bank.example"
KEY = rsa.generate_private_key(65537, 2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
)
P = b64encode(
    KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
).decode()
OTHERS = "Authentication-Results: relay; spf=pass smtp.mailfrom=a@b.example\r\n"
ZONE: Zone = {
    ("b.example", "TXT"): [f"v=spf1 ip4:{CLIENT} -all"],
    ("sel._domainkey.b.example", "TXT"): [f"v=DKIM1; p={P}"],
    ("_dmarc.b.example", "TXT"): ["v=DMARC1; p=reject"],
    ("34.216.184.93.in-addr.arpa", "PTR"): ["relay.b.example"],
    ("relay.b.example", "A"): [CLIENT],
    ("slow._domainkey.b.example", "TXT"): SILENCE,
}
MESSAGE = "From: a@b.example\r\nMessage-ID: <1@b.example>\r\n\r\nHello\r\n"


def signed(selector: bytes = b"sel") -> str:
    raw = MESSAGE.encode()
    field: bytes = dkim.sign(raw, selector, b"b.example", PEM)
    return (field + raw).decode()


@asynccontextmanager
async def world(zone: Zone = ZONE, seconds: float = 30.0, believed: bool = True) -> AsyncIterator[LmtpWorld]:
    async with dns_server(zone) as server:
        dns = Dns([server.address], timeout=60, tries=1, deadline=120)
        peers = Networks(("127.0.0.0/8", "::1", "unix", "192.0.2.0/24")) if believed else Networks(())
        made = LmtpWorld(spam_peers=peers)
        verifier = Verifier(dns, made.pool, Policy("mx.example", seconds, junk=False))
        delivery = Delivery(made.postbox, made.pool, inspection=Inspection(verifier))
        made.server = LmtpServer(made.settings, delivery, made.budget, lambda _: True)
        try:
            yield made
        finally:
            await dns.close()


async def deliver(client: Lmtp, text: str, forwarded: str = "") -> None:
    await client.send("LHLO relay.example")
    await client.replies("220", "250")
    if forwarded:
        await client.send(f"XFORWARD {forwarded}")
        await client.replies("250")
    await client.send("MAIL FROM:<a@b.example>", "RCPT TO:<alice@example.com>", "DATA")
    await client.replies("250", "250", "354")
    await client.octets(text.encode() + b".\r\n")
    await client.replies("250")


async def prefix_of(text: str, forwarded: str = "", zone: Zone = ZONE, **more: bool) -> str:
    async with world(zone, **more) as made:
        async with made.session() as client:
            await deliver(client, text, forwarded)
        (stored,) = made.postbox.stored
        # Octets in are octets out: what was there stays as it came.
        assert stored.octets == text.encode()
        return stored.prefix.decode()


def results(prefix: str) -> Mapping[str, str]:
    """As another program reads them."""
    line = prefix[prefix.index("Authentication-Results:") :].partition("\r\nReceived-SPF")[0]
    parsed = authres.AuthenticationResultsHeader.parse(line.strip().replace("\r\n\t", " "))
    assert parsed.authserv_id == "mx.example"
    return {each.method: each.result for each in parsed.results or []}


async def test_everything_passes() -> None:
    prefix = await prefix_of(signed(), f"ADDR={CLIENT} HELO=relay.b.example")
    assert prefix.startswith("Return-Path: <a@b.example>\r\nDelivered-To: alice@example.com\r\nAuthentication-Results:")
    assert results(prefix) == dict.fromkeys(("iprev", "spf", "dkim", "dmarc"), "pass")
    assert "header.d=b.example header.s=sel header.a=rsa-sha256 header.b=" in prefix
    assert prefix.endswith(
        f'Received-SPF: pass\r\n\tclient-ip={CLIENT}; envelope-from=a@b.example; helo=relay.b.example; '
        "identity=mailfrom; receiver=mx.example\r\n"
    )  # fmt: skip


RECEIVED = (
    "Received: from localhost (localhost [127.0.0.1]) by mx.test with ESMTP id 1; Mon, 02 Nov 2026 10:00:00 +0100\r\n"
    f"Received: from relay.b.example (relay.b.example [{CLIENT}])\r\n\tby mx.test with ESMTPS id 2; date\r\n"
)


@pytest.mark.parametrize(
    ("text", "forwarded", "expected"),
    [
        pytest.param(MESSAGE, "ADDR=8.8.8.8 HELO=x.example", {"iprev": "permerror", "spf": "fail", "dmarc": "fail"}),
        pytest.param(MESSAGE, "ADDR=10.0.0.1 HELO=x.example", {}, id="a-client-inside-is-not-asked-about"),
        pytest.param(MESSAGE, "", {}, id="nobody-knows-the-client"),
        pytest.param(RECEIVED + MESSAGE, "", {"iprev": "pass", "spf": "pass", "dmarc": "pass"}, id="received"),
        pytest.param(RECEIVED.replace("ESMTPS id", "ESMTPSA id") + MESSAGE, "", {}, id="signed-in-at-the-relay"),
        pytest.param(
            "Received: by mx.test (local); date\r\n" + RECEIVED + MESSAGE, "", {}, id="only-the-top-is-believed"
        ),
        pytest.param(
            OTHERS + "Received: by mx.test; d\r\n" + MESSAGE,
            "", {"spf": "pass", "dmarc": "pass"}, id="the-relay-has-checked",
        ),
        pytest.param(
            "Received: by mx.test; d\r\n" + OTHERS + MESSAGE,
            "", {}, id="what-is-below-received-is-anybodys",
        ),
        pytest.param(
            f"{FORGED}\r\nReceived: by mx.test; d\r\n" + signed(b"none"), "",
            {"dkim": "permerror", "dmarc": "fail"}, id="no-key",
        ),
    ],
)  # fmt: skip
async def test_where_the_client_is_known_from(text: str, forwarded: str, expected: Mapping[str, str]) -> None:
    found = dict(results(await prefix_of(text, forwarded)))
    found = {method: result for method, result in found.items() if (method, result) != ("dkim", "none")}
    if FORGED in text:
        # A trusted relay wrote that on top: of SPF alone its word is taken.
        assert found.pop("spf") == "pass"
    assert found == expected


async def test_a_peer_that_is_not_trusted_says_nothing_of_its_client() -> None:
    for text, forwarded in ((MESSAGE, f"ADDR={CLIENT} HELO=relay.b.example"), (RECEIVED + MESSAGE, "")):
        assert results(await prefix_of(text, forwarded, believed=False)) == {"dkim": "none"}


async def test_who_is_named_by_xclient_is_the_client_of_all_that_follows() -> None:
    """Of more than one message, until another one is named; XFORWARD goes before it for one."""
    async with world() as made, made.session() as client:
        await client.send("LHLO relay.example", f"XCLIENT ADDR={CLIENT}")
        await client.replies("220", "250", "220")
        for number, (forwarded, spf) in enumerate((("", "pass"), ("ADDR=8.8.8.8", "fail"), ("", "pass"))):
            await client.send("LHLO relay.b.example", *([f"XFORWARD {forwarded}"] if forwarded else []))
            await client.replies("250", *(["250"] if forwarded else []))
            await client.send("MAIL FROM:<a@b.example>", "RCPT TO:<alice@example.com>", "DATA")
            await client.replies("250", "250", "354")
            await client.octets(MESSAGE.replace("<1@", f"<{number}@").encode() + b".\r\n")
            await client.replies("250")
            prefix = made.postbox.stored[-1].prefix.decode()
            assert results(prefix)["spf"] == spf
            assert ("helo=relay.b.example" in prefix) is (not forwarded)
        await client.send("XCLIENT ADDR=8.8.8.8", "LHLO x.example")
        await client.replies("220", "250")
        await client.send("MAIL FROM:<a@b.example>", "RCPT TO:<alice@example.com>", "DATA")
        await client.replies("250", "250", "354")
        await client.octets(MESSAGE.replace("<1@", "<9@").encode() + b".\r\n")
        await client.replies("250")
        assert results(made.postbox.stored[-1].prefix.decode())["spf"] == "fail"


async def test_xclient_is_not_for_everybody() -> None:
    async with world(believed=False) as made, made.session() as client:
        await client.send("LHLO relay.example", f"XCLIENT ADDR={CLIENT}", "NOOP")
        await client.replies("220", "250", "550 5.7.1", "250")


async def test_silence_delays_no_longer_than_the_bound() -> None:
    """The name server is silent for ever, and would be asked for minutes."""
    async with world(seconds=0.5) as made, made.session() as client:
        await deliver(client, signed(b"slow"))
        found = results(made.postbox.stored[0].prefix.decode())
        assert (found["dkim"], found["dmarc"]) == ("temperror", "temperror")


async def test_two_authors_are_none() -> None:
    found = results(await prefix_of("From: x@c.example\r\n" + signed()))
    assert found == {"dkim": "fail", "dmarc": "permerror"}


def test_a_sender_cannot_write_results() -> None:
    evil = 'x; dkim=pass header.d=bank.example "\r\nX: y\\'
    lines = authentication_results(
        "mx.example",
        Authentication(
            (DkimResult("fail", evil, evil, evil),), SpfResult("fail", "mailfrom", evil + "@b.example"), None, None
        ),
    ).decode()
    assert lines.count("\r\n") == 3
    assert "dkim=pass" not in lines
    assert dict(results(lines)) == {"spf": "fail", "dkim": "fail"}


def test_the_lines_are_bounded() -> None:
    long = DkimResult("pass", domain="d" * 60 + ".example" * 24, selector="s" * 250)
    found = authentication_results("mx.example", Authentication((long,) * 50))
    assert 0 < len(found) <= ROOM
    assert b"dkim=pass" in found


FAILED = DmarcResult("fail", "b.example", "reject")


@pytest.mark.parametrize(
    ("found", "score"),
    [
        pytest.param(Authentication(dmarc=FAILED), FLAGGED, id="disowned"),
        pytest.param(Authentication(dmarc=DmarcResult("fail", "b.example", "none")), 0, id="only-watched"),
        pytest.param(Authentication(dmarc=DmarcResult("temperror", "b.example", "reject")), 0, id="unknown"),
        pytest.param(Authentication(dmarc=FAILED, arc=ArcResult("pass", ("list.example",))), 0, id="trusted-list"),
        pytest.param(Authentication(dmarc=FAILED, arc=ArcResult("pass", ("x.example",))), FLAGGED, id="another-sealer"),
        pytest.param(
            Authentication(dmarc=FAILED, arc=ArcResult("pass", ("x.example", "list.example"))), FLAGGED, id="one-of-two"
        ),
        pytest.param(Authentication(dmarc=FAILED, arc=ArcResult("fail", ("list.example",))), FLAGGED, id="broken"),
    ],
)
def test_what_fails_counts_as_spam(found: Authentication, score: int) -> None:
    assert found.judged(Spam(), frozenset({"list.example"})).score == score
    assert found.judged(Spam(75, 3.0), frozenset()) == Spam(75, 3.0)
