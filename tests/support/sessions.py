"""IMAP sessions over the store that an API under test has, to see each other's changes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from duckmail.runtime.budget import OctetBudget
from duckmail.services.mail import Mail
from protocols.imap.server import make_serve
from protocols.imap.session import ImapServices
from protocols.imap.settings import ImapSettings
from protocols.net.limits import Limits
from tests.support.api import Api
from tests.support.memory import MemoryClient, MemoryConnection
from tests.support.stores import open_sessions, open_urls


class ImapSession:
    def __init__(self, client: MemoryClient) -> None:
        self._client = client
        self._tags = 0

    async def line(self) -> str:
        return (await self._client.line(20)).decode("latin-1").rstrip("\r\n")

    async def command(self, text: str) -> list[str]:
        """Untagged lines, and the tagged one without its tag."""
        self._tags += 1
        tag = f"a{self._tags}"
        await self._client.send(f"{tag} {text}\r\n".encode("latin-1"))
        lines: list[str] = []
        while True:
            line = await self.line()
            assert line, f"closed during {text}"
            if line.startswith(f"{tag} "):
                return [*lines, line.removeprefix(f"{tag} ")]
            lines.append(line)

    async def start(self, text: str) -> None:
        """Sends a command and waits for nothing."""
        await self._client.send(f"x {text}\r\n".encode("latin-1"))


@asynccontextmanager
async def imap_session(api: Api, username: str = "anna", password: str = "secretvalue") -> AsyncIterator[ImapSession]:
    """Logged in."""
    services = ImapServices(
        auth=api.accounts.auth,
        mail=lambda principal: Mail(api.store, principal),
        user_slot=Limits(100, per_user=20).user,
        budget=OctetBudget(64 * 1024 * 1024),
        threads=api.accounts.pool,
        sessions=open_sessions(api.store),
        urls=open_urls(api.store),
    )
    connection = MemoryConnection()
    serve = make_serve(services, ImapSettings(plaintext_login=True))
    task = asyncio.get_running_loop().create_task(serve(connection))  # type: ignore[arg-type]
    client = MemoryClient(connection)
    session = ImapSession(client)
    try:
        await session.line()
        assert (await session.command(f"LOGIN {username} {password}"))[-1].startswith("OK")
        yield session
    finally:
        client.end()
        await asyncio.wait_for(task, 20)
