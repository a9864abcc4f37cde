"""A whole process on real sockets, over a test's own database: every mail protocol and the API, joined as the server
joins them. Two of them on one database stand for two processes."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from aiohttp import ClientSession, web

from api.app import make_app, make_runner
from api.services import ApiSettings
from duckmail.app.edges import mail_edges
from duckmail.app.ground import Databases
from duckmail.app.listeners import IMAP, POP3, SUBMISSION
from duckmail.app.server import api_services
from duckmail.app.services import Services, open_services
from duckmail.config.schema import Config, Imap, Mongo, Pop3, Server, Submission
from duckmail.services.access import SYSTEM
from duckmail.services.tasks.runner import TaskRunner
from duckmail.services.users import NewUser
from protocols.net.limits import Limits
from protocols.net.listener import Listeners
from tests.support.api import TOKEN, Reply, call
from tests.support.net import make_certificate, shared_contexts

WAIT = 40.0
PASSWORD = "secretvalue"


class Lines:
    """The client's end of a line-based session."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def line(self, wait: float = WAIT) -> str:
        """The next line without its CRLF; "" at the end of the stream."""
        return (await asyncio.wait_for(self._reader.readline(), wait)).decode("latin-1").removesuffix("\r\n")

    async def send(self, line: str) -> None:
        self._writer.write(line.encode() + b"\r\n")
        await self._writer.drain()

    async def ask(self, line: str, ends: str = "") -> str:
        """The first line of the answer, or the first that begins with `ends`."""
        await self.send(line)
        while True:
            said = await self.line()
            if not said or said.startswith(ends):
                return said

    async def close(self) -> None:
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


@dataclass(slots=True)
class House:
    services: Services
    ports: dict[str, int]
    base: str
    session: ClientSession
    clients: list[Lines] = field(default_factory=list)

    async def connect(self, label: str) -> Lines:
        lines = Lines(*await asyncio.open_connection("127.0.0.1", self.ports[label]))
        self.clients.append(lines)
        await lines.line()
        return lines

    async def imap(self, username: str = "anna", password: str = PASSWORD) -> tuple[Lines, str]:
        lines = await self.connect(IMAP)
        return lines, await lines.ask(f'a LOGIN {username} "{password}"', "a ")

    async def pop3(self, username: str = "anna", password: str = PASSWORD) -> tuple[Lines, str]:
        lines = await self.connect(POP3)
        await lines.ask(f"USER {username}")
        return lines, await lines.ask(f"PASS {password}")

    async def submission(self, username: str = "anna", password: str = PASSWORD) -> tuple[Lines, str]:
        lines = await self.connect(SUBMISSION)
        await lines.ask("EHLO client.example", "250 ")
        await lines.ask("AUTH LOGIN")
        await lines.ask(_base64(username))
        return lines, await lines.ask(_base64(password))

    async def call(self, method: str, path: str, json: object = None, token: str = TOKEN) -> Reply:
        return await call(self.session, method, self.base + path, json, token)

    async def work(self) -> int:
        """Does the tasks that are due; how many attempts that were."""
        return await TaskRunner(self.services.store.task_records, self.services.jobs, "test").once()

    async def make_user(self, username: str = "anna", **attributes: object) -> str:
        return await self.services.users.create(
            NewUser(username=username, password=PASSWORD, attributes=attributes), SYSTEM
        )


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()


@asynccontextmanager
async def open_house(
    mongo_uri: str, database_name: str, redis_url: str = "", slot: str = "first", config: Config | None = None
) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        given = config or Config()
        settings = given.model_copy(
            update={
                "server": Server(hostname="mail.example.com", domain="example.com", data=folder),
                "mongo": Mongo(database=database_name),
                "imap": Imap(plaintext_login=True),
                "pop3": Pop3(plaintext_login=True),
                "submission": Submission(plaintext_login=True),
            }
        )
        services = await stack.enter_async_context(open_services(settings, Databases(mongo_uri, redis_url), slot))
        listeners = await stack.enter_async_context(Listeners(Limits(0)))
        session = await stack.enter_async_context(ClientSession())
        ports = {}
        for label, service in mail_edges(services, Limits(0), shared_contexts()).items():
            [address] = listeners.start(service, ["127.0.0.1:0"])
            ports[label] = int(address.rpartition(":")[2])
        files = make_certificate(folder, "mail.example.com")
        certificate = (files.certificate, files.key)
        runner = make_runner(make_app(api_services(services, certificate), ApiSettings(access_token=TOKEN)))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        house = House(services, ports, f"http://{host}:{port}", session)
        try:
            yield house
        finally:
            for client in house.clients:
                await client.close()
            await runner.cleanup()
