"""A POP3 server for tests: the real services over a test's own database, with accounts, and clients line by line."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from duckmail.model.message import Needs, NewMessage
from duckmail.runtime.threads import Pool
from duckmail.services.access import SYSTEM
from duckmail.services.mail import Mail
from duckmail.services.maildrop import Maildrops
from duckmail.services.passwords import Passwords
from duckmail.services.users import NewUser, Users
from protocols.net.connection import Connection
from protocols.net.limits import Limits
from protocols.pop3.server import make_serve
from protocols.pop3.session import Pop3Services
from protocols.pop3.settings import Pop3Settings
from storage.store import Store
from tests.support.memory import MemoryClient, MemoryConnection
from tests.support.stores import Ears, open_auth, open_scram, open_sessions, open_store

WAIT = 40.0
SETTINGS = Pop3Settings(version="1.0", plaintext_login=True)


@dataclass(slots=True)
class Pop3House:
    """`anna` and `bert`, each with the password `secret`, may have `per_user` sessions each."""

    store: Store
    users: Users
    services: Pop3Services
    sessions: list[asyncio.Task[None]] = field(default_factory=list)

    def serve(self, settings: Pop3Settings = SETTINGS) -> Callable[[Connection], Awaitable[None]]:
        return make_serve(self.services, settings)

    async def mail(self, username: str = "anna") -> Mail:
        """The account's mailboxes, past POP3: what another protocol or process would do."""
        principal = await self.services.auth.login(username, "secret", "imap", "", "test")
        return Mail(self.store, principal)

    async def put(self, *messages: bytes, username: str = "anna", path: str = "INBOX", prefix: bytes = b"") -> None:
        mail = await self.mail(username)
        for message in messages:
            await mail.append(path, [NewMessage(await mail.prepare(message), prefix=prefix)])

    async def limit(self, **limits: int) -> None:
        """Of anna."""
        user = (await self.mail())._user
        await self.store.users.update(user, limits)

    async def stored(self, path: str, username: str = "anna") -> list[tuple[bytes, int]]:
        """(octets, flags) of all messages of a mailbox, by UID."""
        mail = await self.mail(username)
        ears = Ears()
        view = await mail.open(path, ears)
        found = []
        async for batch in mail.fetch(view, list(view.uids), Needs.CONTENT):
            for message in batch:
                assert message.content is not None
                octets = message.prefix + b"".join([piece async for piece in message.content.read()])
                found.append((octets, view.flags[view.position(message.uid)]))
        mail.close_view(view, ears)
        return found

    def connect(self, settings: Pop3Settings = SETTINGS, **connection: Any) -> "Pop3":
        """A session in process."""
        opened = MemoryConnection(**connection)
        task = asyncio.get_running_loop().create_task(self.serve(settings)(opened))  # type: ignore[arg-type]
        self.sessions.append(task)
        return Pop3(opened, task)


class Pop3:
    """The client's end of one session."""

    def __init__(self, connection: MemoryConnection, task: "asyncio.Task[None]") -> None:
        self.connection = connection
        self.client = MemoryClient(connection)
        self.task = task

    async def send(self, *lines: str) -> None:
        await self.client.send("".join(line + "\r\n" for line in lines).encode())

    async def line(self) -> str:
        """The next line without its CRLF; "" at the end of the stream."""
        return (await self.client.line(WAIT)).decode("latin-1").removesuffix("\r\n")

    async def ask(self, *lines: str) -> str:
        """The first line of the answer to the last of `lines`; every other one has an answer of one line."""
        await self.send(*lines)
        for _ in lines[1:]:
            await self.line()
        return await self.line()

    async def listing(self, line: str) -> list[str]:
        """The lines of a multi-line response."""
        assert (await self.ask(line)).startswith("+OK")
        return (await self.body()).decode("latin-1").splitlines()

    async def body(self) -> bytes:
        """Octets of a multi-line response behind its first line, dots as they were, as a client without errors does."""
        octets = b""
        while (line := await self.client.line(WAIT)) != b".\r\n":
            assert line, octets
            octets += line.removeprefix(b".")
        return octets

    async def login(self, username: str = "anna") -> str:
        """From the greeting; the answer to PASS."""
        await self.line()
        return await self.ask(f"USER {username}", "PASS secret")

    async def retrieve(self, number: int) -> bytes:
        assert (await self.ask(f"RETR {number}")).startswith("+OK")
        return await self.body()

    async def quit(self) -> str:
        answer = await self.ask("QUIT")
        await asyncio.wait_for(self.task, WAIT)
        return answer

    async def vanish(self) -> None:
        """The connection is lost; returns when the session is over."""
        self.client.end()
        await asyncio.wait_for(self.task, WAIT)


@asynccontextmanager
async def open_pop3(
    mongo_uri: str,
    database_name: str,
    redis_url: str | None = None,
    *,
    per_user: int = 10,
    expunge: bool = False,
    accounts: Sequence[str] = ("anna", "bert"),
) -> AsyncIterator[Pop3House]:
    """Two of them on one database, the second without `accounts`, stand for two processes."""
    pool = Pool("passwords", 2)
    try:
        async with open_store(mongo_uri, database_name, redis_url) as store:
            passwords, scram = Passwords(pool), open_scram(pool)
            users = Users(store.users, store.addresses, passwords, "example.com", scram=scram)
            for name in accounts:
                await users.create(NewUser(username=name, password="secret"), SYSTEM)
            services = Pop3Services(
                auth=open_auth(store, users, passwords, scram),
                sessions=open_sessions(store),
                maildrops=Maildrops(store, lambda principal: Mail(store, principal), expunge=expunge),
                user_slot=Limits(1000, per_user=per_user).user,
            )
            house = Pop3House(store, users, services)
            try:
                yield house
            finally:
                for session in house.sessions:
                    session.cancel()
                await asyncio.gather(*house.sessions, return_exceptions=True)
    finally:
        pool.close()
