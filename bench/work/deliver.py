"""LMTP deliveries over many connections."""

import asyncio
import time

from bench.work.base import Outcome, Work


class DeliverMany(Work):
    """4 KB, each connection into a mailbox of its own."""

    name = "lmtp-4k-many"
    title = "LMTP 4 KB, many mailboxes"

    async def prepare(self) -> None:
        self._clients = await self.place.lmtp(self.sizes.connections)
        self._mails = self.mails()
        self._to = self.place.accounts

    def mails(self) -> list[bytes]:
        return [self.place.mails.small() for _ in range(self.sizes.small)]

    async def run(self) -> Outcome:
        supply = iter(self._mails)
        latencies: list[float] = []

        async def one(number: int) -> None:
            client, address = self._clients[number], self._to[number % len(self._to)].address
            for mail in supply:
                begun = time.perf_counter()
                await client.deliver(mail, address)
                latencies.append(time.perf_counter() - begun)

        await asyncio.gather(*(one(number) for number in range(len(self._clients))))
        return Outcome(len(self._mails), latencies)

    async def finish(self) -> None:
        for client in self._clients:
            client.close()


class DeliverOne(DeliverMany):
    """4 KB, all connections into the same mailbox."""

    name = "lmtp-4k-one"
    title = "LMTP 4 KB, one mailbox"

    async def prepare(self) -> None:
        await super().prepare()
        self._to = self.place.accounts[:1]


class DeliverMedium(DeliverMany):
    """100 KB: a short text and an attachment."""

    name = "lmtp-100k"
    title = "LMTP 100 KB, many mailboxes"

    def mails(self) -> list[bytes]:
        return [self.place.mails.large(100_000) for _ in range(self.sizes.medium)]


class DeliverLarge(DeliverMany):
    """5 MB: a short text and an attachment."""

    name = "lmtp-5m"
    title = "LMTP 5 MB, many mailboxes"

    def mails(self) -> list[bytes]:
        return [self.place.mails.large(5_000_000) for _ in range(self.sizes.large)]
