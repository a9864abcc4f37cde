"""IMAP APPEND of 4 KB over many connections, one account each."""

import asyncio
import time

from bench.work.base import Outcome, Work


class Append(Work):
    name = "append-4k"
    title = "IMAP APPEND 4 KB"

    async def prepare(self) -> None:
        accounts = self.place.accounts
        self._clients = [
            await self.place.login(accounts[number % len(accounts)]) for number in range(self.sizes.connections)
        ]
        self._mails = [self.place.mails.small() for _ in range(self.sizes.small)]

    async def run(self) -> Outcome:
        supply = iter(self._mails)
        latencies: list[float] = []

        async def one(number: int) -> None:
            for mail in supply:
                begun = time.perf_counter()
                await self._clients[number].append("INBOX", mail)
                latencies.append(time.perf_counter() - begun)

        await asyncio.gather(*(one(number) for number in range(len(self._clients))))
        return Outcome(len(self._mails), latencies)

    async def finish(self) -> None:
        for client in self._clients:
            client.close()
