"""An MX listener for tests: the real services over a test's own database, DNS on loopback, clients from anywhere."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pymongo

from duckmail.clients.dns import Dns
from duckmail.model.message import Needs
from duckmail.services.connections import Connections
from duckmail.services.delivery import Delivery
from duckmail.services.inspection import Inspection, SpamFilter
from duckmail.services.mailauth.verifier import Policy as MailauthPolicy
from duckmail.services.mailauth.verifier import Verifier
from duckmail.services.queue.forward import Forwarding
from duckmail.services.reception.blocklists import Blocklists, Zone
from duckmail.services.reception.gate import Gate, GatePolicy
from duckmail.services.reception.greylist import Greylist
from duckmail.services.reception.notices import Notices
from duckmail.services.reception.reception import Parts, Policy, Reception
from duckmail.services.recipients import Resolver
from duckmail.services.sorting import Sorting
from duckmail.services.srs import Srs
from duckmail.services.tracing import Tracing
from protocols.mx.server import MxServer
from protocols.mx.settings import MxSettings
from storage.redis.counters import Counters
from storage.redis.presence import Presence
from tests.support.dns_server import SERVFAIL, DnsServer, dns_server
from tests.support.dns_server import Zone as DnsZone
from tests.support.memory import MemoryConnection, MemoryPeer
from tests.support.submission import HOSTNAME, Sent, Smtp, SubmissionHouse, open_submission

CLIENT = "93.184.216.34"  # of good.example
STRANGER = "8.8.8.8"
ZONE: DnsZone = {
    ("good.example", "TXT"): [f"v=spf1 ip4:{CLIENT} -all"],
    ("_dmarc.good.example", "TXT"): ["v=DMARC1; p=reject"],
    ("good.example", "A"): [CLIENT],
    ("soft.example", "TXT"): [f"v=spf1 ip4:{CLIENT} -all"],
    ("_dmarc.soft.example", "TXT"): ["v=DMARC1; p=quarantine"],
    ("34.216.184.93.in-addr.arpa", "PTR"): ["client.good.example"],
    ("client.good.example", "A"): [CLIENT],
    ("8.8.8.8.bl.example", "A"): ["127.0.0.2"],
    ("8.8.8.8.grey.example", "A"): ["127.0.0.3"],
    ("8.8.8.8.limit.example", "A"): ["127.255.255.254"],
    ("8.8.8.8.gone.example", "A"): ["93.184.216.34"],
    ("8.8.8.8.broken.example", "A"): SERVFAIL,
    ("mail.example.net", "MX"): [(10, "mx.example.net")],
    ("broken.example.net", "A"): SERVFAIL,
}
WAIT = 20.0
SRS = Srs("bounces.example", lambda: [b"k" * 32])  # a domain without addresses of its own


@dataclass(slots=True)
class MxHouse:
    """As `SubmissionHouse`: anna, bert, dora (disabled), full; team@example.com goes to anna and x@y.example."""

    house: SubmissionHouse
    dns: Dns
    names: DnsServer

    def sorter(self) -> Sorting:
        house = self.house
        return Sorting(house.store, house.queue, Forwarding(HOSTNAME), house.pool, HOSTNAME)

    def delivery(self) -> Delivery:
        return Delivery(self.house.store, self.house.pool, sorter=self.sorter(), srs=SRS)

    def reception(
        self,
        *,
        delivery: Any = None,
        spam: SpamFilter | None = None,
        dmarc: str = "honour",
        sealers: frozenset[str] = frozenset(),
        gate: GatePolicy | None = None,
        greylist: float = 0.0,
        blocklists: Sequence[str] = (),
        counters: Counters | None = None,
        tracing: Tracing | None = None,
    ) -> Reception:
        house, counted = self.house, counters or Counters(None)
        verifier = Verifier(self.dns, house.pool, MailauthPolicy(HOSTNAME, 60.0, sealers=sealers))
        parts = Parts(
            delivery=delivery or self.delivery(),
            resolver=Resolver(house.store.addresses, None, (SRS.domain,)),
            inspection=Inspection(verifier, relayed=False, spam=spam),
            gate=Gate(counted, self.dns, gate or GatePolicy(hostname=HOSTNAME)),
            greylist=Greylist(counted, greylist, 3600),
            blocklists=Blocklists(self.dns, map(Zone.parse, blocklists)),
            notices=Notices(house.queue, house.store.contents, HOSTNAME),
            threads=house.pool,
            tracing=tracing,
        )
        return Reception(parts, Policy(HOSTNAME, HOSTNAME, f"postmaster@{HOSTNAME}", dmarc, sealers=sealers))

    def server(
        self, reception: Reception | None = None, *, everywhere: Connections | None = None, **settings: Any
    ) -> MxServer:
        """`settings` of the listener; `everywhere`: what counts connections in all processes."""
        given = MxSettings(HOSTNAME, **{"size_limit": 1_000_000, **settings})
        counted = everywhere or Connections(Presence(None, "", "one"))
        return MxServer(given, reception or self.reception(), self.house.budget, counted)

    @asynccontextmanager
    async def session(
        self, server: MxServer | None = None, *, host: str = CLIENT, tls: bool = False, tls_available: bool = False
    ) -> AsyncIterator[Smtp]:
        """A session whose end is awaited; it must leave nothing reserved."""
        connection = MemoryConnection(tls=tls, tls_available=tls_available, peer=MemoryPeer(host))
        task = asyncio.get_running_loop().create_task((server or self.server()).serve(connection))  # type: ignore[arg-type]
        try:
            yield Smtp(connection)
            connection.incoming.end()
            await asyncio.wait_for(task, WAIT)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert (self.house.budget.used, self.house.budget.waiting) == (0, 0)

    async def send(
        self,
        raw: bytes,
        *recipients: str,
        sender: str = "a@good.example",
        server: MxServer | None = None,
        host: str = CLIENT,
        mail: str = "",
        rcpt: str = "",
    ) -> str:
        """One message in a session of its own; the reply behind it, or the first one that refuses it."""
        named = [f"RCPT TO:<{each}>{rcpt}" for each in recipients or ("anna@example.com",)]
        async with self.session(server, host=host) as client:
            await client.replies("220 ")
            for line in ("EHLO client.good.example", f"MAIL FROM:<{sender}>{mail}", *named, "DATA"):
                said = await client.ask(line)
                if said[:3] not in {"250", "354"}:
                    return said
            await client.octets(raw + b".\r\n")
            return await client.reply()

    async def mailbox(self, name: str, subject: str, path: str = "INBOX") -> list[bytes]:
        """What is in there with this subject, whole, by UID."""
        mail = self.house.mail(name)
        opened = await mail.open(path, mail)
        found = []
        async for batch in mail.fetch(opened, list(opened.uids), Needs.META | Needs.CONTENT):
            for stored in batch:
                assert stored.content is not None
                found.append(stored.prefix + b"".join([piece async for piece in stored.content.read()]))
        mail.close_view(opened, mail)
        return [each for each in found if f"\r\nSubject: {subject}\r\n".encode() in each]

    async def queued(self) -> list[Sent]:
        return await self.house.queued()


@asynccontextmanager
async def shared_mx(mongo_uri: str) -> AsyncIterator[MxHouse]:
    """One for many tests, with a database of its own, without Redis."""
    name = f"t_mx_{uuid.uuid4().hex[:8]}"
    try:
        async with open_submission(mongo_uri, name) as house, dns_server(ZONE) as names:
            dns = Dns([names.address], timeout=15, tries=1, deadline=30)
            try:
                yield MxHouse(house, dns, names)
            finally:
                await dns.close()
    finally:
        with pymongo.MongoClient[dict[str, Any]](mongo_uri) as client:
            client.drop_database(name)


def message(subject: str = "hello", sender: str = "a@good.example", more: str = "", body: str = "Hello") -> bytes:
    """With a Message-ID made of its subject."""
    return (
        f"{more}From: {sender}\r\nTo: anna@example.com\r\nSubject: {subject}\r\n"
        f"Message-ID: <{subject.replace(' ', '-')}@good.example>\r\n\r\n{body}\r\n"
    ).encode()
