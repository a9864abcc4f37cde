"""Logging in, and opening a mailbox of 10,000 messages: at once after the server's start, and again."""

import time

from bench.clients import imap
from bench.servers.base import HOST, PASSWORD
from bench.work.base import Outcome, Work


class Login(Work):
    """Connect and LOGIN, one after the other; the latencies are those of LOGIN."""

    name = "login"
    title = "connect + LOGIN"
    unit = "login"

    async def prepare(self) -> None:
        self._account = self.place.accounts[0]

    async def run(self) -> Outcome:
        latencies = []
        for _ in range(self.sizes.opens):
            client = await imap.connect(HOST, self.place.server.imap)
            latencies.append(await client.login(self._account.address, PASSWORD))
            client.close()
        return Outcome(len(latencies), latencies)


class OpenWarm(Work):
    """SELECT and UNSELECT in one session, the mailbox having been open before."""

    name = "open-warm"
    title = "SELECT of the full mailbox, warm"
    unit = "SELECT"

    async def prepare(self) -> None:
        self._client = await self.place.login(await self.place.full_mailbox())
        await self._client.command(b"SELECT INBOX")
        await self._client.command(b"UNSELECT")

    async def run(self) -> Outcome:
        latencies = []
        for _ in range(self.sizes.opens):
            begun = time.perf_counter()
            await self._client.command(b"SELECT INBOX")
            latencies.append(time.perf_counter() - begun)
            await self._client.command(b"UNSELECT")
        return Outcome(len(latencies), latencies)

    async def finish(self) -> None:
        self._client.close()


class OpenCold(Work):
    """Login and SELECT, the first thing after a restart of the server (the machine's page cache stays)."""

    name = "open-cold"
    title = "SELECT of the full mailbox, cold"
    unit = "SELECT"

    async def prepare(self) -> None:
        await self.place.full_mailbox()
        await self.place.restart()
        other = await self.place.login(self.place.accounts[0])  # the processes are there, the mailbox is not loaded
        await other.command(b"SELECT INBOX")
        other.close()
        self._client = await self.place.login(self.place.FULL)

    async def run(self) -> Outcome:
        begun = time.perf_counter()
        await self._client.command(b"SELECT INBOX")
        return Outcome(1, [time.perf_counter() - begun])

    async def finish(self) -> None:
        self._client.close()
