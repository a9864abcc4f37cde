"""`kill -9` of the sender at random points: nothing is lost, and nothing comes twice but in SMTP's own window."""

import asyncio
import random
import sys
from asyncio.subprocess import PIPE, Process
from collections import defaultdict
from pathlib import Path

import pytest

from tests.support.internet import Host, Internet, Mail, internet
from tests.support.outbound import World, outbound

KILLS = 2
DOMAINS = 6
EACH = 6  # messages for each domain
CONCURRENCY = 20  # transactions of a sender at once
SECONDS = 90

ZONE = "".join(f"d{number}.test. 60 IN MX 10 mx.d{number}.test.\n" for number in range(DOMAINS))
ZONE += "".join(f"mx.d{number}.test. 60 IN A {{mx.d{number}.test}}\n" for number in range(DOMAINS))


def hosts() -> list[Host]:
    found = [Host(f"mx.d{number}.test", slow=0.03) for number in range(DOMAINS)]
    found[1].greylists = True
    found[2].drops = 3
    found[3].broken_tls = True
    return found


async def sender(uri: str, database: str, net: Internet) -> Process:
    command = [sys.executable, "-m", "tests.support.internet_process", uri, database, net.dns.address, str(net.port)]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    assert process.stdout is not None
    async with asyncio.timeout(SECONDS):
        assert (await process.stdout.readline()).strip() == b"running"
    return process


async def until_taken(net: Internet, more: int) -> None:
    """Returns when so many more messages have been taken, or no more come for a while."""
    before = taken(net)
    async with asyncio.timeout(SECONDS):
        while taken(net) < min(before + more, DOMAINS * EACH):
            await asyncio.sleep(0.002)


def taken(net: Internet) -> int:
    return len({mail.recipients for host in net.hosts.values() for mail in host.taken})


@pytest.mark.timeout(240)
async def test_nothing_is_lost_and_hardly_anything_comes_twice(
    mongo_uri: str, database_name: str, tmp_path: Path
) -> None:
    chance = random.Random(7)
    addresses = [f"n{number}@d{domain}.test" for number in range(EACH) for domain in range(DOMAINS)]
    lives: dict[str, list[int]] = defaultdict(list)  # address -> which sender it was taken from, each time
    known: list[Mail] = []
    async with (
        internet(tmp_path, ZONE, hosts()) as net,
        outbound(mongo_uri, database_name, World(), start=False, slot="watcher") as queue,
    ):
        identifiers = [await queue.submit(address, sender="") for address in addresses]
        for life in range(KILLS + 1):
            process = await sender(mongo_uri, database_name, net)
            if life < KILLS:
                await until_taken(net, chance.randint(2, 10))
                await asyncio.sleep(chance.random() * 0.02)  # anywhere within a transaction
            else:
                async with asyncio.timeout(SECONDS):
                    while [each async for each in queue.queue.messages()]:
                        await asyncio.sleep(0.05)
            process.kill()
            await process.wait()
            for mail in (mail for host in net.hosts.values() for mail in host.taken):
                if mail not in known:
                    known.append(mail)
                    lives[mail.recipients[0]].append(life)
        ended = [await queue.queue.get(identifier) for identifier in identifiers]
    assert all(message.recipients[0].state.value == "relayed" for message in ended)
    assert set(lives) == set(addresses), "nothing is lost"
    twice = {address: senders for address, senders in lives.items() if len(senders) > 1}
    # RFC 5321 §4.5.3.2.6: between the other server's 250 and our commit. So only what a sender had in hand when it was
    # killed comes again, from the next one.
    assert all(len(set(senders)) == len(senders) for senders in twice.values()), twice
    for life in range(KILLS):
        assert sum(life in senders[:-1] for senders in twice.values()) <= CONCURRENCY
