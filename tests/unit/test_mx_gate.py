"""Whom the MX listener makes wait, and whom it turns away before any message: rates, lists, names, early talkers."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from redis.asyncio import Redis

from duckmail.model.network import is_public
from duckmail.services.connections import Connections
from duckmail.services.reception import greylist
from duckmail.services.reception.blocklists import Blocklists, Zone
from duckmail.services.reception.caller import Caller
from duckmail.services.reception.gate import GatePolicy
from protocols.mx.server import MxServer
from protocols.net.peer import Networks, Peer
from storage.redis.counters import Counters
from storage.redis.presence import Presence
from tests.support.memory import MemoryClient, MemoryConnection, MemoryPeer
from tests.support.mx import CLIENT, STRANGER, MxHouse, message, shared_mx
from tests.support.submission import HOSTNAME
from tests.support.waiting import redis_has_time

NEIGHBOUR = "93.184.216.99"  # in the /24 of CLIENT


@pytest.fixture(scope="module")
async def house(mongo_uri: str) -> AsyncIterator[MxHouse]:
    async with shared_mx(mongo_uri) as opened:
        yield opened


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here depends on how fast DNS on loopback is."""
    for name in ("blocklists.SECONDS", "gate.NAME_SECONDS"):
        monkeypatch.setattr(f"duckmail.services.reception.{name}", 60.0)


async def mail(house: MxHouse, server: MxServer, host: str = CLIENT, recipient: str = "anna@example.com") -> str:
    """The reply to RCPT, or to MAIL where that refuses."""
    async with house.session(server, host=host) as client:
        await client.send("EHLO x.example", "MAIL FROM:<a@none.example>")
        await client.replies("220", "250")
        said = await client.reply()
        return await client.ask(f"RCPT TO:<{recipient}>") if said.startswith("250") else said


# Rates


async def test_rates_of_an_address_and_of_its_network(house: MxHouse) -> None:
    server = house.server(house.reception(gate=GatePolicy(per_address=2, per_network=3)))
    assert [(await mail(house, server))[:9] for _ in range(3)] == ["250 2.1.5", "250 2.1.5", "450 4.7.1"]
    # Those that were refused count too: who goes on like that is not let in by and by.
    assert (await mail(house, server, NEIGHBOUR)).startswith("450 4.7.1 Too many messages")
    assert (await mail(house, server, STRANGER)).startswith("250")


async def test_rates_hold_in_all_processes(house: MxHouse, redis_url: str, redis_prefix: str) -> None:
    async with Redis.from_url(redis_url) as redis:
        for expected in ("250", "450"):  # each with counters of its own, as processes have
            reception = house.reception(gate=GatePolicy(per_address=1), counters=Counters(redis, redis_prefix))
            assert (await mail(house, house.server(reception))).startswith(expected)


async def test_who_is_exempt(house: MxHouse) -> None:
    reception = house.reception(gate=GatePolicy(1, 1, "dns", HOSTNAME), greylist=60, blocklists=["bl.example"])
    server = house.server(reception, exempt=Networks((f"{STRANGER}/32",)), greet_delay=30, connections=1)
    async with house.session(server, host=STRANGER):
        for _ in range(3):
            assert (await mail(house, server, STRANGER)).startswith("250")


async def test_connections_of_a_network(house: MxHouse) -> None:
    server = house.server(connections=2)
    async with house.session(server) as one, house.session(server, host=NEIGHBOUR) as two:
        await one.replies("220")
        await two.replies("220")
        refused = MemoryConnection(peer=MemoryPeer(CLIENT))
        await server.serve(refused)  # type: ignore[arg-type]
        assert (await MemoryClient(refused).line(5)).startswith(b"421 4.7.0 Too many connections")
        async with house.session(server, host=STRANGER) as other:
            await other.replies("220")
    async with house.session(server) as again:
        await again.replies("220")


async def test_connections_of_a_network_in_all_processes(house: MxHouse, redis_url: str, redis_prefix: str) -> None:
    with redis_has_time():
        async with Redis.from_url(redis_url) as redis:
            here, there = (Connections(Presence(redis, redis_prefix, name)) for name in ("here", "there"))
            exempt = Networks((f"{STRANGER}/32",))
            first, second = (house.server(everywhere=each, connections=2, exempt=exempt) for each in (here, there))
            async with house.session(first) as one, house.session(first, host=NEIGHBOUR) as two:
                await one.replies("220")
                await two.replies("220")
                refused = MemoryConnection(peer=MemoryPeer(CLIENT))
                await second.serve(refused)  # type: ignore[arg-type]
                assert (await MemoryClient(refused).line(15)).startswith(b"421 4.7.0 Too many connections from your")
                async with house.session(second, host=STRANGER) as spared:
                    await spared.replies("220")
            await here.tell()  # as a process does when somebody has left
            async with house.session(second) as again:
                await again.replies("220")


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
    ],
)
def test_networks(host: str, network: str) -> None:
    assert Peer.of(host, 1).wide_network == network


# Greylisting


async def test_greylisting(house: MxHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    counters = Counters(None)
    server = house.server(house.reception(greylist=300, counters=counters))
    assert (await mail(house, server)).startswith("450 4.7.1 You are not known here yet")
    assert (await mail(house, server)).startswith("450 4.7.1")
    # Unknown recipients and postmaster are not told to wait.
    assert (await mail(house, server, recipient="nobody@example.com")).startswith("550 5.1.1")
    assert (await mail(house, server, recipient="postmaster@example.com")).startswith("250")
    patient = house.server(house.reception(greylist=0.001, counters=counters))
    monkeypatch.setattr(greylist, "WAIT", greylist.WAIT + 1)  # as if a second had gone by
    assert (await mail(house, patient)).startswith("250")
    assert (await mail(house, server)).startswith("250")  # the triplet is known
    assert (await mail(house, server, recipient="bert@example.com")).startswith("450")
    monkeypatch.setattr(greylist, "WAIT", greylist.WAIT + 1)
    assert (await mail(house, patient, recipient="bert@example.com")).startswith("250")
    # The second that came again: now its network is known.
    assert (await mail(house, server, NEIGHBOUR, "post@example.com")).startswith("250")
    assert (await mail(house, server, STRANGER, "post@example.com")).startswith("450")


# Block lists


@pytest.mark.parametrize(
    ("zones", "host", "reply"),
    [
        pytest.param(["bl.example"], STRANGER, "550 5.7.1 8.8.8.8 is listed by bl.example", id="listed"),
        pytest.param(["bl.example=reject"], STRANGER, "550 5.7.1", id="reject"),
        pytest.param(["bl.example"], CLIENT, "250", id="not-listed"),
        pytest.param(["grey.example=25"], STRANGER, "250", id="score"),
        pytest.param(["limit.example"], STRANGER, "250", id="an-error-of-the-list"),
        pytest.param(["gone.example"], STRANGER, "250", id="a-list-that-is-gone"),
        pytest.param(["broken.example"], STRANGER, "250", id="no-answer"),
        pytest.param(["bl.example"], "127.0.0.9", "250", id="inside"),
    ],
)
async def test_block_lists(house: MxHouse, zones: Sequence[str], host: str, reply: str) -> None:
    server = house.server(house.reception(blocklists=zones))
    assert (await mail(house, server, host)).startswith(reply)
    assert (await mail(house, server, host, "postmaster@example.com")).startswith("250")
    assert (await mail(house, server, host, "x@remote.example")).startswith("550 5.7.1 Mail for this domain")


async def test_scores_of_lists_add_up_to_spam(house: MxHouse) -> None:
    for zones, place in (["grey.example=25"], "INBOX"), (["grey.example=25", "bl.example=25"], "Junk"):
        server = house.server(house.reception(blocklists=zones))
        subject = f"scored {len(zones)}"
        said = await house.send(
            message(subject, "a@none.example"), sender="a@none.example", server=server, host=STRANGER
        )
        assert said.startswith("250")
        assert len(await house.mailbox("anna", subject, place)) == 1


async def test_a_list_is_asked_once_for_a_connection(house: MxHouse) -> None:
    server = house.server(house.reception(blocklists=["grey.example=25"]))
    house.names.asked.clear()
    async with house.session(server, host=STRANGER) as client:
        await client.send("EHLO x.example", "MAIL FROM:<a@none.example>")
        await client.send(*(f"RCPT TO:<{name}@example.com>" for name in ("anna", "bert", "post")))
        await client.replies("220", "250", "250", "250", "250", "250")
    assert [name for name, _ in house.names.asked].count("8.8.8.8.grey.example") <= 1


class Silent:
    """A list that never answers."""

    async def answers(self, name: str, kind: str) -> list[str]:
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_silent_list_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("duckmail.services.reception.blocklists.SECONDS", 0.05)
    lists = Blocklists(Silent(), [Zone("bl.example")])
    async with asyncio.timeout(20):  # it would wait for ever
        assert (await lists.listing(Caller(STRANGER))).refused_by == ""


class Known:
    """Notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def answers(self, name: str, kind: str) -> list[str]:
        self.asked.append(name)
        return []


async def test_names_in_lists() -> None:
    known = Known()
    lists = Blocklists(known, [Zone("bl.example")])
    address = "2606:2800:220:1:248:1893:25c8:1946"
    assert is_public(address)
    await lists.listing(Caller("192.88.0.1"))
    await lists.listing(Caller(address))
    assert known.asked == [
        "1.0.88.192.bl.example",
        "6.4.9.1.8.c.5.2.3.9.8.1.8.4.2.0.1.0.0.0.0.2.2.0.0.0.8.2.6.0.6.2.bl.example",
    ]


# Names


@pytest.mark.parametrize(
    ("check", "name", "reply"),
    [
        ("off", "x", "250"),
        ("syntax", "client.example", "250"),
        ("syntax", f"[{CLIENT}]", "250"),
        ("syntax", "x", "550 5.7.1 EHLO needs a full host name"),
        ("syntax", "a_b!.example", "550 5.7.1"),
        ("syntax", CLIENT, "550 5.7.1"),
        ("syntax", "[8.8.8.8]", "550 5.7.1 EHLO was given an address literal that is not your address"),
        ("syntax", "[IPv6:::1]", "550 5.7.1"),
        ("syntax", "[x", "550 5.7.1"),
        ("syntax", HOSTNAME.upper(), "550 5.7.1 EHLO was given the name of this server"),
        ("dns", "client.good.example", "250"),
        ("dns", "mail.example.net", "250"),
        ("dns", "missing.example.net", "550 5.7.1 EHLO was given a name that DNS does not know"),
        ("dns", "broken.example.net", "250"),
    ],
)
async def test_names(house: MxHouse, check: str, name: str, reply: str) -> None:
    server = house.server(house.reception(gate=GatePolicy(helo=check, hostname=HOSTNAME)))
    async with house.session(server) as client:
        await client.replies("220")
        assert (await client.ask(f"EHLO {name}")).startswith(reply)
        assert (await client.ask("MAIL FROM:<a@b.example>")).startswith("250" if reply == "250" else "503")


# Early talkers


async def test_who_waits_for_the_greeting(house: MxHouse) -> None:
    async with house.session(house.server(greet_delay=0.05)) as client:
        assert await client.lines() == ["220-mx.example One moment", "220 mx.example ESMTP duckmail ready"]
        assert (await client.ask("EHLO x.example")).startswith("250")


async def test_who_does_not(house: MxHouse) -> None:
    # Without the test of it, this would wait for half a minute.
    async with house.session(house.server(greet_delay=30)) as client:
        await client.send("EHLO x.example", "MAIL FROM:<a@b.example>")
        lines = await client.lines()
        assert lines[0] == "220-mx.example One moment"
        assert lines[1].startswith("554 5.5.1 mx.example You talked before")
        assert await client.reply() == ""


async def test_who_leaves_before_the_greeting(house: MxHouse) -> None:
    async with house.session(house.server(greet_delay=30)) as client:
        client.end()
        assert await client.lines() == ["220-mx.example One moment", ""]
