"""Clients that vanish in the middle of something leave nothing behind: no octets, no sessions, no views, no mail."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from duckmail.runtime.budget import OctetBudget
from duckmail.runtime.threads import Pool
from duckmail.services.access import SYSTEM
from duckmail.services.delivery import Delivery
from duckmail.services.mail import Mail
from duckmail.services.passwords import Passwords
from duckmail.services.users import NewUser, Users
from protocols.imap.server import make_serve
from protocols.imap.session import ImapServices
from protocols.imap.settings import ImapSettings
from protocols.lmtp.server import LmtpServer
from protocols.lmtp.settings import LmtpSettings
from protocols.net.limits import Limits
from storage.store import Store
from tests.faults.wire import Imap, Lmtp, imap, lmtp, ok
from tests.support.net import serving
from tests.support.stores import open_auth, open_sessions, open_store, open_urls

MIB = 1024 * 1024
HALF = b"Message-ID: <half@b.example>\r\nSubject: half\r\n\r\n" + b"half a message\r\n" * 20_000


@dataclass(slots=True)
class House:
    """IMAP and LMTP on real sockets, and all that they hold for their clients."""

    store: Store
    budget: OctetBudget
    limits: Limits
    imap: int
    lmtp: int

    def held(self) -> dict[str, object]:
        """Empty when nothing is held for anybody."""
        views = {
            key: len(entry.view._listeners)
            for key, entry in self.store.views._entries.items()
            if entry.view is not None and entry.view.in_use
        }
        watched = dict(self.store.notifier._watched) if self.store.notifier else {}
        found = {
            "octets": self.budget.used,
            "waiting for octets": self.budget.waiting,
            "connections": self.limits.connections,
            "places": dict(self.limits._counts),
            "views": views,
            "channels": watched,
            "changes": len(self.store.committer._queues),
        }
        return {name: value for name, value in found.items() if value}

    async def settled(self) -> dict[str, object]:
        """What is held when the vanished clients have been noticed."""
        for _ in range(200):
            if not (held := self.held()):
                break
            await asyncio.sleep(0.02)
        return held

    async def messages(self) -> int:
        return await self.store.database["messages"].count_documents({})


@asynccontextmanager
async def house(mongo_uri: str, database_name: str, redis_url: str, octets: int = 100 * MIB) -> AsyncIterator[House]:
    pool, scan = Pool("passwords", 2), Pool("scan", 1)
    budget, limits = OctetBudget(octets), Limits(100, per_network=50, per_user=20)
    try:
        async with open_store(mongo_uri, database_name, redis_url) as store:
            passwords = Passwords(pool)
            users = Users(store.users, store.addresses, passwords, "mail.test")
            await users.create(
                NewUser(username="anna", password="secret", attributes={"imap_max_connections": 20}), SYSTEM
            )
            auth = open_auth(store, users, passwords)
            sessions = open_sessions(store)
            reach = limits.user, budget, scan, open_urls(store)
            services = ImapServices(auth, sessions, lambda by: Mail(store, by), *reach)
            by_imap = make_serve(services, ImapSettings(plaintext_login=True, reserve_timeout=5))
            by_lmtp = LmtpServer(
                LmtpSettings("mail.test", 50 * MIB, reserve_timeout=5), Delivery(store, scan), budget, lambda _: True
            )
            async with (
                serving(by_imap, limits=limits) as (_, first),
                serving(by_lmtp.serve, limits=limits) as (_, second),
            ):
                yield House(store, budget, limits, first, second)
    finally:
        pool.close()
        scan.close()


async def begun(client: Imap | Lmtp, text: str, octets: bytes = b"") -> None:
    """Sends the beginning of something and gives the server time to get into it."""
    await client.stream.send(text.encode() + octets)
    await asyncio.sleep(0.15)


async def in_a_literal(house: House) -> None:
    client = await Imap.connect(house.imap, "anna", "secret")
    await ok(client, "SELECT INBOX")
    await begun(client, "x APPEND INBOX {10000000+}\r\n", HALF)
    assert house.budget.used == 10_000_000
    client.close()


async def in_a_synchronising_literal(house: House) -> None:
    client = await Imap.connect(house.imap, "anna", "secret")
    await begun(client, "x APPEND INBOX {10000000}\r\n")
    assert (await client.response()).text.startswith(b"+")
    client.close()


async def in_a_login(house: House) -> None:
    client = await Imap.connect(house.imap)
    await begun(client, "x LOGIN anna {6}\r\n")
    client.close()


async def after_a_login_was_sent(house: House) -> None:
    client = await Imap.connect(house.imap)
    await client.stream.send(b"x LOGIN anna secret\r\n")
    client.close()


async def in_idle(house: House) -> None:
    client = await Imap.connect(house.imap, "anna", "secret")
    await ok(client, "SELECT INBOX")
    await client.idle()
    client.close()


async def while_selecting(house: House) -> None:
    client = await Imap.connect(house.imap, "anna", "secret")
    await client.stream.send(b"x SELECT INBOX\r\n")
    client.close()


async def not_reading_its_answer(house: House) -> None:
    client = await Imap.connect(house.imap, "anna", "secret")
    await ok(client, "APPEND Junk", HALF * 20)
    await ok(client, "SELECT Junk")
    await begun(client, "".join(f"x{n} FETCH 1 BODY.PEEK[]\r\n" for n in range(20)))
    client.close()


async def in_data(house: House) -> None:
    client = await Lmtp.connect(house.lmtp)
    await client.say("MAIL FROM:<a@b.example> SIZE=10000000")
    await client.say("RCPT TO:<anna@mail.test>")
    await client.say("DATA")
    await begun(client, "", HALF)
    assert house.budget.used > 0
    client.close()


async def in_a_chunk(house: House) -> None:
    client = await Lmtp.connect(house.lmtp)
    await client.say("MAIL FROM:<a@b.example>")
    await client.say("RCPT TO:<anna@mail.test>")
    await begun(client, "BDAT 1000000 LAST\r\n", HALF)
    client.close()


async def between_recipients(house: House) -> None:
    client = await Lmtp.connect(house.lmtp)
    await client.say("MAIL FROM:<a@b.example>")
    await begun(client, "RCPT TO:<anna@mail.test>\r\nRCPT TO:<an")
    client.close()


@pytest.mark.parametrize(
    "vanish",
    [
        in_a_literal,
        in_a_synchronising_literal,
        in_a_login,
        after_a_login_was_sent,
        in_idle,
        while_selecting,
        not_reading_its_answer,
        in_data,
        in_a_chunk,
        between_recipients,
    ],
    ids=lambda vanish: vanish.__name__.replace("_", "-"),
)
async def test_nothing_is_left(
    mongo_uri: str, database_name: str, redis_url: str, vanish: Callable[[House], Awaitable[None]]
) -> None:
    async with house(mongo_uri, database_name, redis_url) as one:
        for _ in range(3):
            await vanish(one)
        assert await one.settled() == {}
        before = 3 if vanish is not_reading_its_answer else 0
        assert await one.messages() == before
        # The next clients find everything as ever.
        async with imap(one.imap, "anna", "secret") as client, lmtp(one.lmtp) as relay:
            await ok(client, "SELECT INBOX")
            outcome = await relay.deliver("a@b.example", ["anna@mail.test"], b"Message-ID: <next@x>\r\n\r\nnext\r\n")
            assert [code for code, _ in outcome.values()] == [250], outcome
            assert any(b"1 EXISTS" in line.text for line in (await ok(client, "NOOP")).untagged)
        assert await one.settled() == {}
    gc.collect()


async def test_who_waits_for_octets_and_vanishes_gives_up_the_place(
    mongo_uri: str, database_name: str, redis_url: str
) -> None:
    async with house(mongo_uri, database_name, redis_url, octets=12 * MIB) as one:
        holder = await Imap.connect(one.imap, "anna", "secret")
        await begun(holder, "x APPEND INBOX {10000000}\r\n")
        waiting = [await Imap.connect(one.imap, "anna", "secret") for _ in range(5)]
        for client in waiting:
            await begun(client, "x APPEND INBOX {9000000}\r\n")
        assert one.budget.waiting == 5
        for client in waiting:
            client.close()
        holder.close()
        assert await one.settled() == {}
