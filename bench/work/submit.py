"""Submission over many connections, and what the outbound queue does with it: the way to the end is measured."""

import asyncio
import time
from collections.abc import Sequence

from bench.clients.smtp import SmtpClient
from bench.servers.base import HOST, PASSWORD, SUBMISSION, Account, Inbox
from bench.work.base import Outcome, Place, Work

END_SECONDS = 300.0  # until the last message has to be there
LOOK_SECONDS = 0.05  # between two looks at an INBOX
SETTLE = 0.5  # seconds for what is recorded about the last message


class Submitters:
    """A connection each, logged in to the accounts in turn, and its mails: from that account."""

    def __init__(self, place: Place, count: int) -> None:
        """`count`: mails in all."""
        connections, accounts = place.sizes.connections, place.accounts
        self.accounts = [accounts[number % len(accounts)] for number in range(connections)]
        self._mails: list[list[bytes]] = [[] for _ in self.accounts]
        for number in range(count):
            connection = number % connections
            self._mails[connection].append(place.mails.small(sender=self.accounts[connection].address))
        self._place = place
        self._clients: list[SmtpClient] = []

    def count(self, connection: int) -> int:
        """Mails of one connection."""
        return len(self._mails[connection])

    async def connect(self) -> None:
        for account in self.accounts:
            client = await SmtpClient.connect(HOST, self._place.server.submission)
            self._clients.append(client)
            await client.login(account.address, PASSWORD)

    async def submit(self, recipients: Sequence[str]) -> list[float]:
        """All mails; those of each connection to one recipient. Seconds that each transaction took."""
        latencies: list[float] = []

        async def one(client: SmtpClient, account: Account, mails: Sequence[bytes], recipient: str) -> None:
            for mail in mails:
                begun = time.perf_counter()
                await client.deliver(mail, recipient, sender=account.address)
                latencies.append(time.perf_counter() - begun)

        rows = zip(self._clients, self.accounts, self._mails, recipients, strict=True)
        await asyncio.gather(*(one(*row) for row in rows))
        return latencies

    def close(self) -> None:
        for client in self._clients:
            client.close()


class SubmitRelayed(Work):
    """4 KB each, until all have arrived at the relay."""

    name = "submission-4k-relay"
    title = "submission 4 KB, relayed"
    needs = frozenset({SUBMISSION})

    async def prepare(self) -> None:
        self._relayed = [self.place.RELAYED] * self.sizes.connections
        await self._warm_up()
        self._submitters = Submitters(self.place, self.sizes.small)
        await self._submitters.connect()

    async def _warm_up(self) -> None:
        wanted = self.place.sink.taken + self.sizes.warm_up
        submitters = Submitters(self.place, self.sizes.warm_up)
        await submitters.connect()
        await submitters.submit(self._relayed)
        submitters.close()
        await self.place.sink.until(wanted, END_SECONDS)
        await asyncio.sleep(SETTLE)

    async def run(self) -> Outcome:
        wanted = self.place.sink.taken + self.sizes.small
        latencies = await self._submitters.submit(self._relayed)
        await self.place.sink.until(wanted, END_SECONDS)
        return Outcome(self.sizes.small, latencies)

    async def finish(self) -> None:
        self._submitters.close()
        await asyncio.sleep(SETTLE)


class SubmitLocal(SubmitRelayed):
    """4 KB each, from every account to the next one, until all are in their INBOX."""

    name = "submission-4k-local"
    title = "submission 4 KB, to accounts here"

    async def prepare(self) -> None:
        await super().prepare()
        accounts = self.place.accounts
        self._inboxes: dict[Account, Inbox] = {account: await self.place.server.inbox(account) for account in accounts}
        self._wanted = {account: await inbox.count() for account, inbox in self._inboxes.items()}
        self._to = [accounts[(number + 1) % len(accounts)] for number in range(self.sizes.connections)]
        for connection, account in enumerate(self._to):
            self._wanted[account] += self._submitters.count(connection)

    async def run(self) -> Outcome:
        latencies = await self._submitters.submit([account.address for account in self._to])
        async with asyncio.timeout(END_SECONDS):
            for account, inbox in self._inboxes.items():
                while await inbox.count() < self._wanted[account]:
                    await asyncio.sleep(LOOK_SECONDS)
        return Outcome(self.sizes.small, latencies)

    async def finish(self) -> None:
        for inbox in self._inboxes.values():
            await inbox.close()
        await super().finish()


class Drain(SubmitRelayed):
    """The relay has not answered for a while, and now it does: from the first message that it takes to the last."""

    name = "queue-drain"
    title = "outbound queue, 4 KB each, to the relay"

    async def prepare(self) -> None:
        self._relayed = [self.place.RELAYED] * self.sizes.connections
        await self._warm_up()
        self._submitters = Submitters(self.place, self.sizes.queued)
        await self._submitters.connect()
        # Who connects is accepted, but not greeted: the messages stay where they are.
        self.place.sink.pause()
        self._last = self.place.sink.taken + self.sizes.queued
        await self._submitters.submit(self._relayed)

    async def run(self) -> Outcome:
        sink = self.place.sink
        sink.resume()
        await sink.until(self._last, END_SECONDS)
        return Outcome(self.sizes.queued)

    async def finish(self) -> None:
        self.place.sink.resume()
        await super().finish()
