"""Mail to a small Internet, through the whole queue: what becomes of it with every kind of server."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from duckmail.model.queue import QueuedMessage, State
from tests.support.internet import HOSTNAME, Host, HostSession, Internet, internet
from tests.support.outbound import Outbound, World, outbound
from tests.support.stores import message

RELAYED, FAILED, WAITING = State.RELAYED, State.FAILED, State.WAITING

ZONE = f"""
good.test. 60 IN MX 10 mx.good.test.
also.test. 60 IN MX 10 mx.good.test.
nomx.test. 60 IN A {{mx.nomx.test}}
alias.test. 60 IN CNAME good.test.
alias.test. 60 IN MX 10 mx.good.test.
null.test. 60 IN MX 0 .
loop.test. 60 IN MX 10 {HOSTNAME}.
loop.test. 60 IN MX 20 mx.good.test.
ahead.test. 60 IN MX 10 mx.good.test.
ahead.test. 60 IN MX 20 {HOSTNAME}.
broken.test. 60 IN MX 10 mx.broken.test.
grey.test. 60 IN MX 10 mx.grey.test.
drops.test. 60 IN MX 10 mx.drops.test.
unsaid.test. 60 IN MX 10 mx.unsaid.test.
slow.test. 60 IN MX 10 mx.slow.test.
closed.test. 60 IN MX 10 mx.closed.test.
closed.test. 60 IN MX 20 mx.good.test.
busy.test. 60 IN MX 10 mx.busy.test.
busy.test. 60 IN MX 20 mx.good.test.
dead.test. 60 IN MX 10 mx.dead.test.
dead.test. 60 IN MX 20 mx.good.test.
gone.test. 60 IN MX 10 mx.gone.test.
gone.test. 60 IN MX 20 mx.good.test.
refusing.test. 60 IN MX 10 mx.closed.test.
both.test. 60 IN MX 10 mx.both.test.
silent.test. 60 IN MX 10 mx.dead.test.
six.test. 60 IN MX 10 mx.six.test.
mx.six.test. 60 IN AAAA ::1
mx.dead.test. 60 IN A 127.0.78.1
mx.both.test. 60 IN AAAA ::1
mx.both.test. 60 IN A {{mx.good.test}}
{HOSTNAME}. 60 IN A 127.0.78.2
"""
NAMES = ("good", "nomx", "broken", "grey", "drops", "unsaid", "slow", "closed", "busy")


def hosts() -> list[Host]:
    found = [Host(f"mx.{name}.test") for name in NAMES]
    good, _, broken, grey, drops, unsaid, slow, closed, busy = found
    good.refuses = {"nobody@good.test": "550 5.1.1 No such user", "later@good.test": "451 4.2.0 Mailbox locked"}
    good.tls = True
    broken.broken_tls = True
    grey.greylists = True
    drops.drops = 1
    unsaid.unsaid = 1
    slow.slow = 0.2
    closed.greeting = "554 5.3.2 No mail here"
    busy.greeting = "421 4.3.2 Too busy"
    return found


@pytest.fixture
async def net(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Internet]:
    zone = ZONE + "".join(f"mx.{name}.test. 60 IN A {{mx.{name}.test}}\n" for name in NAMES)
    folder = tmp_path_factory.mktemp("internet")
    async with internet(folder, zone, hosts(), connect_timeout=5.0) as opened:
        yield opened


@pytest.fixture
async def one(net: Internet, mongo_uri: str, database_name: str) -> AsyncIterator[Outbound]:
    async with outbound(
        mongo_uri,
        database_name,
        World(),
        relay=None,
        mx=True,
        schedule=(0.2, 0.2, 0.2),
        remote=lambda slots, store: net.remote(slots, records=store.sts_policies),
    ) as running:
        yield running


# address -> state, status, host that has it, how often it was taken there, attempts
FATES: dict[str, tuple[State, str, str, int, int]] = {
    "a@good.test": (RELAYED, "2.0.0", "mx.good.test", 1, 1),
    "a@nomx.test": (RELAYED, "2.0.0", "nomx.test", 1, 1),
    "a@alias.test": (RELAYED, "2.0.0", "mx.good.test", 1, 1),
    "a@ahead.test": (RELAYED, "2.0.0", "mx.good.test", 1, 1),
    "a@broken.test": (RELAYED, "2.0.0", "mx.broken.test", 1, 1),
    "a@grey.test": (RELAYED, "2.0.0", "mx.grey.test", 1, 2),
    "a@drops.test": (RELAYED, "2.0.0", "mx.drops.test", 1, 2),
    # The one window in which SMTP allows no better: it was taken, and its answer never came.
    "a@unsaid.test": (RELAYED, "2.0.0", "mx.unsaid.test", 2, 2),
    "a@slow.test": (RELAYED, "2.0.0", "mx.slow.test", 1, 1),
    "a@closed.test": (RELAYED, "2.0.0", "mx.good.test", 1, 1),
    "a@busy.test": (RELAYED, "2.0.0", "mx.good.test", 1, 1),
    "a@dead.test": (RELAYED, "2.0.0", "mx.good.test", 1, 1),
    "a@gone.test": (RELAYED, "2.0.0", "mx.good.test", 1, 1),
    "a@both.test": (RELAYED, "2.0.0", "mx.both.test", 1, 1),
    "nobody@good.test": (FAILED, "5.1.1", "mx.good.test", 0, 1),
    "later@good.test": (FAILED, "4.4.7", "mx.good.test", 0, 4),
    "a@null.test": (FAILED, "5.1.10", "", 0, 1),
    "a@loop.test": (FAILED, "5.4.6", "", 0, 1),
    "a@refusing.test": (FAILED, "5.3.2", "mx.closed.test", 0, 1),
    "a@silent.test": (FAILED, "4.4.7", "", 0, 4),
    "a@nowhere.test": (FAILED, "5.1.2", "", 0, 1),
}


async def all_ended(one: Outbound, identifiers: list[str]) -> list[QueuedMessage]:
    async with asyncio.timeout(60):
        return [await one.until(each, lambda found: found.ended is not None) for each in identifiers]


async def test_every_outcome(net: Internet, one: Outbound) -> None:
    anna = await one.account("anna")
    raws = {address: message(number) for number, address in enumerate(FATES)}
    identifiers = [await one.submit(address, raw=raw) for address, raw in raws.items()]
    ended = await all_ended(one, identifiers)
    taken = Counter(address for host in net.hosts.values() for mail in host.taken for address in mail.recipients)
    found = {}
    for queued in ended:
        (recipient,) = queued.recipients
        address = recipient.address
        found[address] = (recipient.state, recipient.status, recipient.host, taken[address], recipient.attempts)
    assert found == FATES
    for host in net.hosts.values():
        for mail in host.taken:
            assert mail.octets.endswith(raws[mail.recipients[0]])
    await one.all_ended()
    reports = [octets for octets in await one.inbox(anna) if b"multipart/report" in octets]
    told = Counter(address for octets in reports for address in FATES if f"rfc822; {address}\r\n".encode() in octets)
    assert told == Counter(address for address, fate in FATES.items() if fate[0] is FAILED), "each failure once"


def speaks_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


@pytest.mark.skipif(not socket.has_ipv6 or not speaks_ipv6(), reason="this machine has no IPv6")
async def test_by_ipv6(net: Internet, one: Outbound) -> None:
    """To a server that has no other address; one that is deaf there is found by IPv4 (`a@both.test` above)."""
    six = Host("mx.six.test", address="::1")
    server = await asyncio.get_running_loop().create_server(
        lambda: HostSession(six, None, loop=asyncio.get_running_loop()), "::1", net.port
    )
    async with server:
        (queued,) = await all_ended(one, [await one.submit("a@six.test")])
    (recipient,) = queued.recipients
    assert (recipient.state, recipient.host, recipient.attempts) == (RELAYED, "mx.six.test", 1)
    assert [mail.recipients for mail in six.taken] == [("a@six.test",)]


async def test_many_messages_share_connections_and_arrive_once(net: Internet, one: Outbound) -> None:
    addresses = [f"n{number}@{domain}.test" for number in range(20) for domain in ("good", "also")]
    identifiers = [await one.submit(address) for address in addresses]
    ended = await all_ended(one, identifiers)
    assert all(queued.recipients[0].state is RELAYED for queued in ended)
    good = net.hosts["mx.good.test"]
    assert Counter(mail.recipients for mail in good.taken) == Counter((address,) for address in addresses)
    assert all(mail.tls for mail in good.taken)
    assert good.sessions <= 15, "five at once, each for several messages"


async def test_many_recipients_of_a_domain_are_one_transaction(net: Internet, one: Outbound) -> None:
    addresses = [f"r{number}@good.test" for number in range(100)]
    await all_ended(one, [await one.submit(*addresses)])
    (mail,) = net.hosts["mx.good.test"].taken
    assert sorted(mail.recipients) == sorted(addresses)


@pytest.mark.parametrize("announced", [True, False])
async def test_more_recipients_than_one_transaction_takes(net: Internet, one: Outbound, announced: bool) -> None:
    """RFC 9422: who says how many it takes is not offered more; RFC 5321 §4.5.3.1.10: who says it by 452 gets the rest
    at once too. Nobody waits for the schedule, and a refusal among the first ones stops nothing."""
    host = net.hosts["mx.good.test"]
    host.most = 3
    if announced:
        host.offers = ("LIMITS MAILMAX=1000 RCPTMAX=3",)
    addresses = [f"r{number}@good.test" for number in range(8)]
    host.refuses = {"r1@good.test": "550 5.1.1 No such user"}
    (queued,) = await all_ended(one, [await one.submit(*addresses)])
    assert [each.state for each in queued.recipients] == [FAILED if number == 1 else RELAYED for number in range(8)]
    assert {each.attempts for each in queued.recipients} == {1}
    taken = [address for mail in host.taken for address in mail.recipients]
    assert taken == [address for address in addresses if address != "r1@good.test"], "in order, nobody twice"
    assert max(len(mail.recipients) for mail in host.taken) == 3
    assert (host.over == 0) is announced
