"""An LMTP session in process, and a client that speaks to it line by line."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from duckmail.runtime.budget import OctetBudget
from duckmail.runtime.threads import Pool
from duckmail.services.delivery import Delivery
from protocols.lmtp.server import LmtpServer
from protocols.lmtp.settings import LmtpSettings
from tests.support.memory import MemoryClient, MemoryConnection
from tests.support.postbox import Postbox

WAIT = 40.0


class Lmtp:
    """The client's end of one session."""

    def __init__(self, connection: MemoryConnection) -> None:
        self.connection = connection
        self._client = MemoryClient(connection)
        self.end = self._client.end

    async def send(self, *lines: str) -> None:
        await self.octets("".join(line + "\r\n" for line in lines).encode())

    async def octets(self, data: bytes) -> None:
        await self._client.send(data)

    async def reply(self) -> str:
        """The last line of the next reply, "" at the end of the stream."""
        while True:
            line = (await self._client.line(WAIT)).decode().rstrip("\r\n")
            if line[3:4] != "-":
                return line

    async def replies(self, *beginnings: str) -> None:
        for beginning in beginnings:
            said = await self.reply()
            assert said.startswith(beginning), said

    async def silent(self) -> bool:
        return not await self._client.unread()

    async def open(self, *recipients: str, size: int = 0) -> None:
        """Greeting to accepted recipients."""
        await self.send("LHLO relay.example", f"MAIL FROM:<a@b.example>{f' SIZE={size}' if size else ''}")
        await self.send(*(f"RCPT TO:<{recipient}>" for recipient in recipients))
        await self.replies("220", "250", "250", *["250"] * len(recipients))

    async def data(self) -> None:
        await self.send("DATA")
        await self.replies("354")


class LmtpWorld:
    """A server over a postbox with alice and bob, and sessions on it."""

    def __init__(self, budget: int = 1_000_000, **settings: Any) -> None:
        self.postbox = Postbox()
        self.postbox.add("alice@example.com")
        self.postbox.add("bob@example.com")
        self.pool = Pool("test", 1)
        self.budget = OctetBudget(budget)
        self.settings = LmtpSettings("mx.example", **{"size_limit": 1_000_000, **settings})
        self.server = LmtpServer(self.settings, Delivery(self.postbox, self.pool), self.budget, lambda peer: True)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Lmtp]:
        """A session whose end is awaited; it must leave nothing reserved."""
        connection = MemoryConnection()
        task = asyncio.get_running_loop().create_task(self.server.serve(connection))  # type: ignore[arg-type]
        try:
            yield Lmtp(connection)
            connection.incoming.end()
            await asyncio.wait_for(task, WAIT)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
