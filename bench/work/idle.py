"""Memory of a connection that waits in IDLE with a mailbox open."""

import asyncio
from typing import ClassVar

from bench.clients.imap import ImapClient
from bench.measure import memory
from bench.work.base import Outcome, Work

SETTLE = 1.0  # seconds until what the logins used is given back


class Idle(Work):
    name = "idle"
    title = "memory of an idle connection"
    unit = "connection"
    tls: ClassVar[bool] = False

    async def prepare(self) -> None:
        # Memory that earlier work has used and given back would be used again, and hide what a connection costs.
        await self.place.restart()
        self._clients: list[ImapClient] = []
        # What the first connection of an account loads is its mailbox's, not the connection's.
        for number in range(len(self.place.accounts)):
            await self._open(number)
        await asyncio.sleep(SETTLE)
        self._before = memory(self.place.server.pids)

    async def _open(self, number: int) -> None:
        client = await self.place.login(self.place.accounts[number % len(self.place.accounts)], tls=self.tls)
        await client.command(b"SELECT INBOX")
        await client.idle()
        self._clients.append(client)

    async def run(self) -> Outcome:
        for number in range(self.sizes.idle):
            await self._open(number)
        await asyncio.sleep(SETTLE)
        grown = memory(self.place.server.pids) - self._before
        return Outcome(self.sizes.idle, octets=grown / self.sizes.idle)

    async def finish(self) -> None:
        for client in self._clients:
            client.close()
        await asyncio.sleep(SETTLE)


class IdleTls(Idle):
    name = "idle-tls"
    title = "memory of an idle connection, TLS"
    tls = True
