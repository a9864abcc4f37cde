"""A submission server for tests: the real services and the real queue over a test's own database."""

import asyncio
import uuid
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pymongo

from duckmail.errors import NotFound
from duckmail.model.account import Principal
from duckmail.model.address import view
from duckmail.model.queue import QueuedMessage
from duckmail.runtime.budget import OctetBudget
from duckmail.runtime.threads import Pool
from duckmail.services.access import SYSTEM
from duckmail.services.auth import Auth
from duckmail.services.delivery import Delivery
from duckmail.services.mail import Mail
from duckmail.services.passwords import Passwords
from duckmail.services.queue.queue import Queue
from duckmail.services.queue.reports import Reports
from duckmail.services.queue.schedule import Schedule
from duckmail.services.sessions import Sessions
from duckmail.services.submission import Policy, Submission
from duckmail.services.users import NewUser, Users
from protocols.net.limits import Limits
from protocols.submission.server import SubmissionServer
from protocols.submission.session import SubmissionServices
from protocols.submission.settings import SubmissionSettings
from storage.store import Store
from tests.support.memory import MemoryClient, MemoryConnection
from tests.support.stores import open_auth, open_scram, open_sessions, open_store

WAIT = 40.0
HOSTNAME = "mx.example"
PLAIN = {name: b64encode(f"\0{name}\0secret".encode()).decode() for name in ("anna", "bert")}
REMOTE = "x@remote.example"


@dataclass(slots=True)
class Sent:
    """One message as the queue has it. `octets`: with its prefix."""

    message: QueuedMessage
    octets: bytes

    @property
    def addresses(self) -> list[str]:
        return [recipient.address for recipient in self.message.recipients]


class Smtp:
    """The client's end of one session."""

    def __init__(self, connection: MemoryConnection) -> None:
        self.connection = connection
        self._client = MemoryClient(connection)
        self.end = self._client.end

    async def send(self, *lines: str) -> None:
        await self.octets("".join(line + "\r\n" for line in lines).encode())

    async def octets(self, data: bytes) -> None:
        await self._client.send(data)

    async def lines(self) -> list[str]:
        """All lines of the next reply; [""] at the end of the stream."""
        found = []
        while True:
            line = (await self._client.line(WAIT)).decode().rstrip("\r\n")
            found.append(line)
            if line[3:4] != "-":
                return found

    async def reply(self) -> str:
        """The last line of the next reply."""
        return (await self.lines())[-1]

    async def replies(self, *beginnings: str) -> None:
        for beginning in beginnings:
            said = await self.reply()
            assert said.startswith(beginning), said

    async def ask(self, line: str) -> str:
        await self.send(line)
        return await self.reply()

    async def silent(self) -> bool:
        return not await self._client.unread()

    async def login(self, name: str = "anna") -> None:
        """From the greeting to the login."""
        await self.replies("220 ")
        assert (await self.ask("EHLO client.example")).startswith("250 ")
        assert (await self.ask(f"AUTH PLAIN {PLAIN[name]}")).startswith("235 2.7.0")

    async def message(self, raw: bytes, *recipients: str, sender: str = "anna@example.com", mail: str = "") -> str:
        """The reply behind a whole message, or the first one that refuses it."""
        named = [f"RCPT TO:<{recipient}>" for recipient in recipients or (REMOTE,)]
        for line in (f"MAIL FROM:<{sender}>{mail}", *named):
            said = await self.ask(line)
            if not said.startswith("250 "):
                await self.send("RSET")
                await self.replies("250")
                return said
        assert (await self.ask("DATA")).startswith("354")
        await self.octets((b"\r\n" + raw).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n")
        return await self.reply()


@dataclass(slots=True)
class SubmissionHouse:
    """anna (also post@example.com, all of anna.example, and of the group team@example.com), bert; domain example.org is
    an alias of example.com. dora is disabled, full has no room. All passwords are `secret`."""

    store: Store
    users: Users
    auth: Auth
    sessions: Sessions
    queue: Queue
    delivery: Delivery
    pool: Pool
    limits: Limits
    budget: OctetBudget
    ids: dict[str, str]

    def submission(self, **policy: Any) -> Submission:
        return Submission(self.store, self.delivery, self.queue, self.pool, Policy(HOSTNAME, **policy))

    def server(self, settings: SubmissionSettings | None = None, **policy: Any) -> SubmissionServer:
        services = SubmissionServices(
            self.auth, self.sessions, self.submission(**policy), self.limits.user, self.budget
        )
        return SubmissionServer(settings or SubmissionSettings(HOSTNAME, size_limit=1_000_000), services)

    def principal(self, name: str) -> Principal:
        return Principal(self.ids[name], name, scope="smtp")

    def mail(self, name: str) -> Mail:
        return Mail(self.store, self.principal(name))

    async def change(self, name: str, **values: object) -> None:
        await self.users.update(self.ids[name], values, SYSTEM)

    async def queued(self) -> list[Sent]:
        """All that is in the queue, oldest first."""
        found = []
        async for message in self.queue.messages():
            content = (await self.store.contents.load([message.content]))[message.content]
            octets = b"".join([piece async for piece in content.read()])
            found.append(Sent(message, message.prefix + octets))
        return found

    async def copies(self, name: str) -> int:
        """Messages in the account's mailbox for sent mail."""
        try:
            return (await self.store.mailboxes.by_special_use(self.ids[name], "\\Sent")).messages
        except NotFound:
            return 0

    @asynccontextmanager
    async def session(self, server: SubmissionServer | None = None, *, tls: bool = True) -> AsyncIterator[Smtp]:
        """A session whose end is awaited; it must leave nothing reserved."""
        connection = MemoryConnection(tls=tls, tls_available=not tls)
        serve = (server or self.server()).serve
        task = asyncio.get_running_loop().create_task(serve(connection))  # type: ignore[arg-type]
        try:
            yield Smtp(connection)
            connection.incoming.end()
            await asyncio.wait_for(task, WAIT)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert (self.budget.used, self.budget.waiting) == (0, 0)


@asynccontextmanager
async def open_submission(
    mongo_uri: str, database_name: str, redis_url: str | None = None, *, per_user: int = 10
) -> AsyncIterator[SubmissionHouse]:
    pool = Pool("test", 2)
    try:
        async with open_store(mongo_uri, database_name, redis_url) as store:
            passwords, scram = Passwords(pool), open_scram(pool)
            users = Users(store.users, store.addresses, passwords, "example.com", scram=scram)
            house = SubmissionHouse(
                store=store,
                users=users,
                auth=open_auth(store, users, passwords, scram),
                sessions=open_sessions(store),
                queue=Queue(store, Reports(store, HOSTNAME, Schedule((300.0,)))),
                delivery=Delivery(store, pool),
                pool=pool,
                limits=Limits(1000, per_user=per_user),
                budget=OctetBudget(4_000_000),
                ids={},
            )
            await _fill(house)
            yield house
    finally:
        pool.close()


async def _fill(house: SubmissionHouse) -> None:
    new = NewUser(username="anna", password="secret")
    hashed = await Passwords(house.pool).hash("secret")
    for name in ("anna", "bert", "dora", "full"):
        made = replace(new, username=name, password=hashed, hashed=True)
        house.ids[name] = await house.users.create(made, SYSTEM)
    await house.change("dora", disabled=True)
    await house.change("full", quota=1)
    addresses = house.store.addresses
    for address in ("post@example.com", "*@anna.example"):
        await addresses.insert(address, view(address), house.ids["anna"])
    await addresses.insert("postmaster@*", "postmaster@*", house.ids["anna"])
    await addresses.insert_forwarded("team@example.com", view("team@example.com"), ["anna@example.com", "x@y.example"])
    await addresses.insert_forwarded("other@example.com", view("other@example.com"), ["bert@example.com"])
    await addresses.insert_alias("example.org", "example.com")


@asynccontextmanager
async def shared_submission(mongo_uri: str) -> AsyncIterator[SubmissionHouse]:
    """One for many tests, with a database of its own, without Redis."""
    name = f"t_submission_{uuid.uuid4().hex[:8]}"
    try:
        async with open_submission(mongo_uri, name) as house:
            await house.change("anna", from_whitelist=("*@listed.example",))
            yield house
    finally:
        with pymongo.MongoClient[dict[str, Any]](mongo_uri) as client:
            client.drop_database(name)
