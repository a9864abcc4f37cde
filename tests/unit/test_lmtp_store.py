"""LMTP over a real socket into the real store, with the standard library's client."""

import asyncio
import smtplib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from duckmail.model.account import Principal
from duckmail.model.address import view
from duckmail.model.message import Needs
from duckmail.runtime.budget import OctetBudget
from duckmail.runtime.threads import Pool
from duckmail.services.delivery import Delivery
from duckmail.services.mail import Mail
from protocols.lmtp.server import LmtpServer
from protocols.lmtp.settings import LmtpSettings
from storage.store import Store
from tests.support.net import client_context, serving, shared_contexts
from tests.support.stores import message, new_account, open_store


@dataclass
class Running:
    store: Store
    port: int

    async def account(self, name: str, quota: int = 0) -> Principal:
        principal = await new_account(self.store, name)
        if quota:
            await self.store.users.update(principal.user, {"quota": quota})
        await self.store.addresses.insert(f"{name}@example.com", view(f"{name}@example.com"), principal.user)
        return principal

    async def inbox(self, principal: Principal) -> list[bytes]:
        """The octets of all messages, as a client would see them."""
        mail = Mail(self.store, principal)
        opened = await mail.open("INBOX", mail)
        found = []
        async for batch in mail.fetch(opened, list(opened.uids), Needs.META | Needs.CONTENT):
            for stored in batch:
                assert stored.content is not None
                found.append(stored.prefix + b"".join([piece async for piece in stored.content.read()]))
        return found

    async def send(self, recipients: list[str], octets: bytes, tls: bool = False) -> dict[str, int]:
        """Sends by smtplib in a thread; gives the final code for each recipient."""

        def run() -> dict[str, int]:
            with smtplib.LMTP("127.0.0.1", self.port) as client:
                if tls:
                    client.starttls(context=client_context())
                client.ehlo()
                assert client.mail("a@b.example")[0] == 250
                codes = {recipient: client.rcpt(recipient)[0] for recipient in recipients}
                accepted = [recipient for recipient, code in codes.items() if code == 250]
                assert client.docmd("DATA")[0] == (354 if accepted else 503)
                if accepted:
                    client.send((b"\r\n" + octets).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n")
                # RFC 2033 §4.2, which smtplib does not know: one reply for each accepted recipient.
                return codes | {recipient: client.getreply()[0] for recipient in accepted}

        return await asyncio.to_thread(run)


@pytest.fixture
async def running(mongo_uri: str, database_name: str) -> AsyncIterator[Running]:
    pool = Pool("test", 2)
    async with open_store(mongo_uri, database_name) as store:
        server = LmtpServer(
            LmtpSettings("mx.example"), Delivery(store, pool), OctetBudget(256 * 1024 * 1024), lambda peer: True
        )
        async with serving(server.serve, tls=shared_contexts()) as (_, port):
            yield Running(store, port)
    pool.close()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "starttls"])
async def test_octets_come_out_as_they_went_in(running: Running, tls: bool) -> None:
    anna = await running.account("anna")
    octets = message(1) + b".\r\n..dots\r\n\x00\xff\r\n" + b"z" * 300_000 + b"\r\n"
    assert await running.send(["An.na+x@example.com"], octets, tls) == {"An.na+x@example.com": 250}
    prefix = b"Return-Path: <a@b.example>\r\nDelivered-To: An.na+x@example.com\r\n"
    assert await running.inbox(anna) == [prefix + octets]


async def test_fifty_recipients_share_one_content(running: Running) -> None:
    names = [f"user{number}" for number in range(50)]
    principals = [await running.account(name) for name in names]
    recipients = [f"{name}@example.com" for name in names]
    assert await running.send(recipients, message(2)) == dict.fromkeys(recipients, 250)
    assert await running.store.database["contents"].count_documents({}) == 1
    assert len(await running.inbox(principals[49])) == 1


async def test_one_of_several_is_over_quota_or_unknown(running: Running) -> None:
    anna, full = await running.account("anna"), await running.account("full", quota=100)
    codes = await running.send(["anna@example.com", "full@example.com", "none@example.com"], message(3))
    assert codes == {"anna@example.com": 250, "full@example.com": 552, "none@example.com": 550}
    assert (len(await running.inbox(anna)), len(await running.inbox(full))) == (1, 0)


async def test_a_retry_is_stored_once(running: Running) -> None:
    anna, bob = await running.account("anna"), await running.account("bob")
    for recipients in (["anna@example.com"], ["anna@example.com", "bob@example.com"], ["bob@example.com"]):
        assert await running.send(recipients, message(4)) == dict.fromkeys(recipients, 250)
    assert (len(await running.inbox(anna)), len(await running.inbox(bob))) == (1, 1)


async def test_the_same_retry_twice_at_once_is_stored_once(running: Running) -> None:
    anna = await running.account("anna")
    results = await asyncio.gather(*(running.send(["anna@example.com"], message(5)) for _ in range(8)))
    assert results == [{"anna@example.com": 250}] * 8
    assert len(await running.inbox(anna)) == 1
