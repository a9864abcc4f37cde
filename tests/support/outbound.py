"""The outbound queue of one or more processes over a real database, with other servers that do as a test says."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from duckmail.errors import NotFound, Unavailable
from duckmail.model.account import Principal
from duckmail.model.address import view
from duckmail.model.exchangers import Exchangers
from duckmail.model.message import Needs
from duckmail.model.queue import (
    NOTIFY_DEFAULT,
    Destination,
    Letter,
    Notify,
    Origin,
    OutboundEnvelope,
    Outcome,
    QueuedMessage,
    QueueRecipient,
    State,
)
from duckmail.runtime.batch import Batched
from duckmail.runtime.budget import OctetBudget
from duckmail.runtime.sealer import Sealer
from duckmail.runtime.targetpasswords import TargetPasswords
from duckmail.runtime.threads import Pool
from duckmail.services.delivery import Delivery
from duckmail.services.dkim.signer import Signer
from duckmail.services.inspection import Inspection
from duckmail.services.mail import Mail
from duckmail.services.mailauth.verifier import Verifier
from duckmail.services.queue.attempt import Tools
from duckmail.services.queue.forward import Forwarding
from duckmail.services.queue.local import LocalCourier
from duckmail.services.queue.queue import NewMail, Queue
from duckmail.services.queue.remote import Remote
from duckmail.services.queue.reports import Reports
from duckmail.services.queue.routing import Router
from duckmail.services.queue.runner import Runner
from duckmail.services.queue.schedule import Schedule
from duckmail.services.queue.slots import Pace, Slots
from duckmail.services.recipients import Resolver
from duckmail.services.sorting import Sorting
from duckmail.services.srs import SenderRewriting, Srs
from duckmail.services.transport.security import Security
from storage.store import Store
from tests.support.stores import message, new_account, open_store

RELAY = Destination("relay.test", 25)
SEALER = Sealer([bytes(32)])
WAIT = 40.0

ACCEPT = (250, "2.0.0", "OK")
REFUSE = (550, "5.1.1", "No such user")
DEFER = (451, "4.3.0", "Later")
SILENT = (0, "4.4.1", "No answer")

Answer = tuple[int, str, str]


@dataclass(frozen=True)
class Taken:
    """One message that a server has taken. `recipients`: whom it took it for."""

    host: str
    sender: str
    recipients: tuple[str, ...]
    octets: bytes
    letter: Letter


@dataclass
class World:
    """The servers elsewhere: who answers what, and what they have got. A courier and a name server.

    `answers`: by address or by host, one after the other, the last one for ever; ACCEPT for all others.
    `unheard`: hosts that answer so to the connection.
    """

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    hosts: dict[str, list[str]] = field(default_factory=dict)
    taken: list[Taken] = field(default_factory=list)
    destinations: list[Destination] = field(default_factory=list)
    attempts: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    dsn: bool = False
    ambiguous: set[str] = field(default_factory=set)
    unheard: set[str] = field(default_factory=set)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    now: int = 0
    most: int = 0

    def __post_init__(self) -> None:
        self.go.set()

    async def send(
        self, destination: Destination, letter: Letter, recipients: Sequence[QueueRecipient]
    ) -> list[Outcome]:
        self.destinations.append(destination)
        self.now += 1
        self.most = max(self.most, self.now)
        self.begun.set()
        try:
            await self.go.wait()
            outcomes = [self._outcome(destination.host, recipient.address) for recipient in recipients]
            if any(outcome.accepted or outcome.ambiguous for outcome in outcomes):
                octets = letter.prefix + b"".join([piece async for piece in letter.content.read()])
                assert len(octets) == letter.size
                names = tuple(outcome.address for outcome in outcomes if outcome.accepted)
                self.taken.append(Taken(destination.host, letter.envelope.sender, names, octets, letter))
            return outcomes
        finally:
            self.now -= 1

    async def post(self, url: str, letter: Letter, recipients: Sequence[QueueRecipient]) -> list[Outcome]:
        return await self.send(Destination(url), letter, recipients)

    def _outcome(self, host: str, address: str) -> Outcome:
        self.attempts[address] += 1
        heard = address in self.answers or host not in self.unheard
        answers = self.answers.get(address) or self.answers.get(host) or [ACCEPT]
        code, status, text = answers.pop(0) if len(answers) > 1 else answers[0]
        if address in self.ambiguous:
            self.ambiguous.discard(address)
            return Outcome(address, 0, "4.4.2", "The connection broke after the message", host, ambiguous=True)
        return Outcome(address, code, status, text, host if code else "", dsn=self.dsn, early=not heard)

    async def exchangers(self, domain: str) -> Exchangers:
        if domain == "broken.test":
            raise Unavailable("No answer from the name servers")
        if domain not in self.hosts:
            raise NotFound("There is no such domain")
        return Exchangers(tuple(enumerate(self.hosts[domain])))


class Outbound:
    """One process: a store, and its queue."""

    def __init__(
        self, store: Store, pool: Pool, world: World, runner: Runner, queue: Queue, delivery: Delivery
    ) -> None:
        self.store = store
        self.pool = pool
        self.world = world
        self.runner = runner
        self.queue = queue
        self.delivery = delivery

    async def submit(
        self,
        *recipients: str | QueueRecipient,
        sender: str = "anna@example.com",
        raw: bytes | None = None,
        notify: Notify = NOTIFY_DEFAULT,
        envelope: OutboundEnvelope | None = None,
        user: str = "",
        **more: object,
    ) -> str:
        named = [QueueRecipient(each, notify) if isinstance(each, str) else each for each in recipients]
        content = await self.store.contents.prepare(message(1) if raw is None else raw)
        new = NewMail(user, Origin.SUBMISSION, envelope or OutboundEnvelope(sender), named, content, **more)  # type: ignore[arg-type]
        return await self.queue.submit(new)

    async def until(self, identifier: str, holds: Callable[[QueuedMessage], bool]) -> QueuedMessage:
        """The message, once `holds` is true of it."""
        async with asyncio.timeout(WAIT):
            while True:
                found = await self.queue.get(identifier)
                if holds(found):
                    return found
                await asyncio.sleep(0.01)

    async def ended(self, identifier: str) -> list[State]:
        """The states of its recipients when it is at its end."""
        found = await self.until(identifier, lambda found: found.ended is not None)
        return [recipient.state for recipient in found.recipients]

    async def all_ended(self) -> None:
        async with asyncio.timeout(WAIT):
            while [each async for each in self.queue.messages()]:
                await asyncio.sleep(0.01)

    async def account(self, name: str) -> Principal:
        principal = await new_account(self.store, name)
        address = f"{name}@example.com"
        await self.store.addresses.insert(address, view(address), principal.user)
        return principal

    async def inbox(self, principal: Principal) -> list[bytes]:
        mail = Mail(self.store, principal)
        opened = await mail.open("INBOX", _Deaf())
        found = []
        async for batch in mail.fetch(opened, list(opened.uids), Needs.META | Needs.CONTENT):
            for stored in batch:
                assert stored.content is not None
                found.append(stored.prefix + b"".join([piece async for piece in stored.content.read()]))
        return found


class _Deaf:
    def view_changed(self, expunged: Sequence[int]) -> None:
        pass


@asynccontextmanager
async def outbound(
    mongo_uri: str,
    database_name: str,
    world: World,
    *,
    relay: Destination | None = RELAY,
    mx: bool = False,
    schedule: Sequence[float] = (0.05, 0.05),
    slot: str = "test",
    start: bool = True,
    concurrency: int = 20,
    per_host: int = 5,
    patience: float = 60.0,
    srs_domain: str = "",
    arc: str = "",
    verifier: Verifier | None = None,
    remote: Callable[[Slots, Store], Remote] | None = None,
) -> AsyncIterator[Outbound]:
    """`remote`: what sends in place of `world`."""
    pool = Pool("queue", 2)
    with contextlib.closing(pool):
        async with open_store(mongo_uri, database_name, slot=slot) as store:
            times = Schedule(schedule)
            slots = Slots(concurrency, Pace(per_host), patience)
            reports = Reports(store, "mx.example.com", times)
            queue = Queue(store, reports)
            srs = Srs(srs_domain, lambda: [bytes(32)]) if srs_domain else None
            resolver = Resolver(store.addresses, own=(srs_domain,) if srs_domain else ())
            delivery = Delivery(
                store,
                pool,
                srs=srs,
                inspection=Inspection(verifier),
                sorter=Sorting(store, queue, Forwarding("mx.example.com"), pool, "mx.example.com"),
            )
            tools = Tools(
                store=store,
                router=Router(resolver, relay, mx=mx, passwords=TargetPasswords(Sealer([bytes(32)]))),
                local=LocalCourier(delivery, OctetBudget(64 << 20)),
                remote=remote(slots, store)
                if remote
                else Remote(world, world, world, slots, security=Security("may"), hostname="mx.example.com"),
                slots=slots,
                reports=reports,
                schedule=times,
                contents=Batched(store.contents.load),
                signer=Signer(store.dkim, store.addresses, SEALER, pool, "mx.example.com", arc=arc),
                rewriting=SenderRewriting(srs, resolver),
                users=Batched(store.users.many),
                threads=pool,
                budget=OctetBudget(64 << 20),
            )
            runner = Runner(tools, slot, concurrency, poll=0.02)
            queue.woken = runner.wake
            if start:
                runner.start()
            try:
                yield Outbound(store, pool, world, runner, queue, delivery)
            finally:
                world.go.set()
                await runner.drain(2)
