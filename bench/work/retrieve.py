"""POP3 RETR over many connections, one account each."""

import asyncio
import time

from bench.clients.pop3 import Pop3Client
from bench.servers.base import HOST, LMTP, PASSWORD, POP3
from bench.work.base import Outcome, Work

PIPELINED = 25  # commands in one write


class Retrieve(Work):
    """One message after the other."""

    name = "pop3-retr"
    title = "POP3 RETR 4 KB, one by one"
    needs = frozenset({POP3, LMTP})

    async def prepare(self) -> None:
        self._clients: list[Pop3Client] = []
        for account in await self.place.maildrops():
            client = await Pop3Client.connect(HOST, self.place.server.pop3)
            self._clients.append(client)
            found = await client.login(account.address, PASSWORD)
            assert found == self.sizes.maildrop, f"{found} of {self.sizes.maildrop} messages"

    async def run(self) -> Outcome:
        latencies: list[float] = []
        await asyncio.gather(*(self._one(client, latencies) for client in self._clients))
        return Outcome(self.sizes.maildrop * len(self._clients), latencies)

    async def _one(self, client: Pop3Client, latencies: list[float]) -> None:
        for number in range(1, self.sizes.maildrop + 1):
            begun = time.perf_counter()
            await client.retrieve([number])
            latencies.append(time.perf_counter() - begun)

    async def finish(self) -> None:
        for client in self._clients:
            await client.quit()


class RetrievePipelined(Retrieve):
    """Several commands in one write, where the server says that it takes them."""

    name = "pop3-retr-pipelined"
    title = "POP3 RETR 4 KB, pipelined"

    async def _one(self, client: Pop3Client, latencies: list[float]) -> None:
        if not client.pipelining:
            raise ValueError("the server does not offer PIPELINING")
        for first in range(1, self.sizes.maildrop + 1, PIPELINED):
            await client.retrieve(range(first, min(first + PIPELINED, self.sizes.maildrop + 1)))
