"""Mail exchangers and addresses, asked of a real server on loopback."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from duckmail.clients.dns import MAX_EXCHANGERS, Dns
from duckmail.errors import NotFound, Unavailable
from duckmail.model.network import is_public
from tests.support.dns_server import REFUSED, SERVFAIL, SILENCE, DnsServer, Zone, dns_server
from tests.support.net import on_both_loops

ZONE: Zone = {
    ("example.com", "MX"): [(20, "mx2.example.com"), (10, "MX1.example.com"), (30, "mx3.example.com")],
    ("mx1.example.com", "A"): ["192.0.2.1", "192.0.2.2"],
    ("mx1.example.com", "AAAA"): ["2001:db8::1"],
    ("mx2.example.com", "AAAA"): ["2001:db8::2"],
    ("host.example", "A"): ["192.0.2.9"],
    ("text.example", "CNAME"): ["host.example"],
    ("lonely.example", "CNAME"): ["nowhere.example"],
    ("alias.example", "CNAME"): ["example.com"],
    ("silent.example", "MX"): [(0, ".")],
    ("mixed.example", "MX"): [(0, "."), (5, "mx1.example.com")],
    ("literal.example", "MX"): [(0, "192.0.2.1"), (10, "mx1.example.com")],
    ("literals.example", "MX"): [(0, "192.0.2.1")],
    ("broken.example", "MX"): SERVFAIL,
    ("refusing.example", "MX"): REFUSED,
    ("slow.example", "MX"): SILENCE,
    ("half.example", "A"): SERVFAIL,
    ("half.example", "AAAA"): ["2001:db8::5"],
    ("worse.example", "A"): SERVFAIL,
    ("worse.example", "TXT"): [],
    ("xn--bcher-kva.example", "MX"): [(10, "mx1.example.com")],
    ("twice.example", "MX"): [(10, "mx1.example.com"), (20, "mx1.example.com")],
    ("many.example", "MX"): [(number, f"mx{number}.many.example") for number in range(30)],
}


@asynccontextmanager
async def resolver(zone: Zone = ZONE, timeout: float = 30) -> AsyncIterator[tuple[Dns, DnsServer]]:
    async with dns_server(zone) as server:
        dns = Dns([server.address], timeout=timeout, tries=1, deadline=60)
        try:
            yield dns, server
        finally:
            await dns.close()


@pytest.mark.parametrize(
    ("domain", "hosts"),
    [
        pytest.param("example.com", ["mx1.example.com", "mx2.example.com", "mx3.example.com"], id="by-preference"),
        pytest.param("EXAMPLE.com.", ["mx1.example.com", "mx2.example.com", "mx3.example.com"], id="case-final-dot"),
        pytest.param("host.example", ["host.example"], id="no-mx-is-the-domain-itself"),
        pytest.param("text.example", ["text.example"], id="no-mx-behind-a-cname"),
        pytest.param("alias.example", ["mx1.example.com", "mx2.example.com", "mx3.example.com"], id="mx-behind-cname"),
        pytest.param("silent.example", [], id="null-mx"),
        pytest.param("mixed.example", ["mx1.example.com"], id="dot-among-others-is-ignored"),
        pytest.param("literal.example", ["mx1.example.com"], id="address-as-target-is-ignored"),
        pytest.param("bücher.example", ["mx1.example.com"], id="u-label"),
        pytest.param("twice.example", ["mx1.example.com"], id="each-host-once"),
        pytest.param("[192.0.2.7]", ["192.0.2.7"], id="ipv4-literal"),
        pytest.param("[IPv6:2001:db8::7]", ["2001:db8::7"], id="ipv6-literal"),
    ],
)
async def test_exchangers(domain: str, hosts: list[str]) -> None:
    async with resolver() as (dns, _):
        assert (await dns.exchangers(domain)).hosts == hosts


@pytest.mark.parametrize(
    "domain",
    [
        pytest.param("nowhere.example", id="no-such-domain"),
        pytest.param("mx3.example.com", id="no-such-domain-below-one"),
        pytest.param("lonely.example", id="cname-to-nothing"),
        pytest.param("literals.example", id="no-usable-target"),
        pytest.param("", id="empty"),
        pytest.param("a..example", id="empty-label"),
        pytest.param("x" * 64 + ".example", id="label-too-long"),
        pytest.param("a b.example", id="space"),
        pytest.param("[192.0.2.999]", id="no-address-in-literal"),
    ],
)
async def test_exchangers_not_found(domain: str) -> None:
    async with resolver() as (dns, _):
        with pytest.raises(NotFound):
            await dns.exchangers(domain)


@pytest.mark.parametrize(
    ("domain", "timeout"), [("broken.example", 30), ("refusing.example", 30), ("slow.example", 0.3)]
)
async def test_exchangers_unavailable(domain: str, timeout: float) -> None:
    async with resolver(timeout=timeout) as (dns, _):
        with pytest.raises(Unavailable):
            await dns.exchangers(domain)


async def test_a_wrong_name_is_not_asked_for() -> None:
    async with resolver() as (dns, server):
        with pytest.raises(NotFound):
            await dns.exchangers("a b.example")
        assert server.asked == []


async def test_hosts_are_few() -> None:
    async with resolver() as (dns, _):
        hosts = (await dns.exchangers("many.example")).hosts
        assert hosts == [f"mx{number}.many.example" for number in range(MAX_EXCHANGERS)]


async def test_equal_preferences_are_shuffled_and_others_not() -> None:
    hosts = [f"mx{number}.example.com" for number in range(8)]
    zone = {("example.com", "MX"): [(5, "first.example.com"), *((10, host) for host in hosts)]}
    async with resolver(zone) as (dns, _):
        orders = {tuple((await dns.exchangers("example.com")).hosts) for _ in range(20)}
    assert len(orders) > 1
    assert all(order[0] == "first.example.com" and sorted(order[1:]) == hosts for order in orders)


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        pytest.param("mx1.example.com", ["192.0.2.1", "2001:db8::1", "192.0.2.2"], id="families-in-turn"),
        pytest.param("mx2.example.com", ["2001:db8::2"], id="ipv6-only"),
        pytest.param("text.example", ["192.0.2.9"], id="behind-a-cname"),
        pytest.param("half.example", ["2001:db8::5"], id="one-family-fails"),
    ],
)
async def test_addresses(host: str, addresses: list[str]) -> None:
    async with resolver() as (dns, _):
        assert await dns.addresses(host) == addresses


@pytest.mark.parametrize(
    ("host", "error"),
    [
        pytest.param("nowhere.example", NotFound, id="no-such-name"),
        pytest.param("example.com", NotFound, id="no-addresses"),
        pytest.param("worse.example", Unavailable, id="one-fails-the-other-is-empty"),
    ],
)
async def test_no_addresses(host: str, error: type[Exception]) -> None:
    async with resolver() as (dns, _):
        with pytest.raises(error):
            await dns.addresses(host)


async def test_a_question_has_a_deadline() -> None:
    async with dns_server(ZONE) as server:
        dns = Dns([server.address], timeout=300, tries=3, deadline=0.2)
        async with asyncio.timeout(60):
            with pytest.raises(Unavailable):
                await dns.exchangers("slow.example")
        await dns.close()


@on_both_loops
async def test_on_either_loop() -> None:
    async with resolver() as (dns, _):
        assert (await dns.exchangers("host.example")).hosts == ["host.example"]


@pytest.mark.parametrize("text", ["192.0.2.53", "192.0.2.53:5353", "2001:db8::53", "[2001:db8::53]", "[::1]:5353"])
async def test_name_servers(text: str) -> None:
    dns = Dns([text], deadline=0.05)
    with pytest.raises((Unavailable, NotFound)):
        await dns.addresses("host.invalid")
    await dns.close()


@pytest.mark.parametrize("text", ["ns.example", "192.0.2.53:dns", "", "192.0.2.53,192.0.2.54"])
def test_wrong_name_servers(text: str) -> None:
    with pytest.raises(ValueError, match="name server"):
        Dns([text])


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("192.0.2.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("2606:4700:4700::1111", True),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fc00::1", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("2001:db8::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("::127.0.0.1", False),
        ("2002:7f00:1::", False),
        ("2001:0:7f00:1::1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::808:808", True),
        ("64:ff9b:1::1", False),
        ("mx.example", False),
    ],
)
def test_what_is_public(address: str, public: bool) -> None:
    assert is_public(address) is public
