"""What a work item is, and the place it runs in: one server with accounts and, on demand, a full mailbox."""

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from bench.clients import imap
from bench.clients.imap import ImapClient
from bench.clients.lmtp import LmtpClient
from bench.clients.sink import Sink
from bench.content import Mails
from bench.servers.base import ELSEWHERE, HOST, IMAP, LMTP, PASSWORD, Account, Server


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything; `QUICK` is a smoke test, not a measurement."""

    accounts: int = 16
    connections: int = 16
    small: int = 2000  # messages of 4 KB for one run
    medium: int = 300  # of 100 KB
    large: int = 24  # of 5 MB
    mailbox: int = 10_000  # messages in the full mailbox
    bodies: int = 2000  # of them fetched whole
    copied: int = 2000
    opens: int = 50
    pushes: int = 200
    idle: int = 200  # connections
    searches: int = 3
    searched: int = 10_000  # messages in the mailboxes of the searches at size
    searched_large: int = 100_000
    maildrop: int = 500  # messages in each account that is fetched by POP3
    queued: int = 2000  # messages that wait in the outbound queue
    warm_up: int = 400


QUICK = Sizes(
    accounts=4, connections=4, small=40, medium=4, large=1, mailbox=60, bodies=30, copied=20, opens=3, pushes=5,
    idle=8, searches=1, searched=40, searched_large=60, maildrop=10, queued=60, warm_up=8,
)  # fmt: skip


@dataclass(slots=True)
class Outcome:
    """What one run did. `latencies`: seconds, one for each operation, where they mean something."""

    operations: int
    latencies: list[float] = field(default_factory=list)
    octets: float = 0.0  # of memory for each operation, for what measures memory


class Place:
    """A running server, prepared for the work items."""

    FULL = Account("full")  # its INBOX is the full mailbox
    RELAYED = f"somebody@{ELSEWHERE}"

    def __init__(self, server: Server, sizes: Sizes, seed: int, sink: Sink | None = None) -> None:
        """`sink`: the server's relay."""
        self.server = server
        self.sink = sink or Sink()
        self.sizes = sizes
        self.seed = seed
        self.mails = Mails(seed)
        self.random = random.Random(seed)
        self.accounts = [Account(f"user{number:02}") for number in range(sizes.accounts)]
        self.filled: set[Account] = set()  # by `bench.work.searching`
        self._full = False
        self._maildrops: list[Account] = []

    async def prepare(self) -> None:
        """Makes the accounts and lets every path run once."""
        await self.server.add_accounts([*self.accounts, self.FULL])
        if LMTP in self.server.offers:
            mails = [self.mails.small() for _ in range(self.sizes.warm_up)]
            await deliver_all(self.server, mails, self.accounts, self.sizes.connections)

    async def full_mailbox(self) -> Account:
        """The account whose INBOX has `sizes.mailbox` messages, filled at the first call."""
        if not self._full:
            mails = (self.mails.small() for _ in range(self.sizes.mailbox))
            await deliver_all(self.server, mails, [self.FULL], self.sizes.connections)
            client = await self.login(self.FULL)
            answer = await client.command(b"SELECT INBOX")
            assert f"* {self.sizes.mailbox} EXISTS".encode() in answer, answer
            client.close()
            self._full = True
        return self.FULL

    async def maildrops(self) -> list[Account]:
        """An account for each connection with `sizes.maildrop` messages in INBOX, filled at the first call."""
        if not self._maildrops:
            accounts = [Account(f"pop{number:02}") for number in range(self.sizes.connections)]
            await self.server.add_accounts(accounts)
            mails = [[self.mails.small() for _ in range(self.sizes.maildrop)] for _ in accounts]
            pairs = zip(mails, accounts, strict=True)
            await asyncio.gather(*(deliver_all(self.server, some, [to], 1) for some, to in pairs))
            self._maildrops = accounts
        return self._maildrops

    async def restart(self) -> None:
        """The server anew, its data as it was: nothing is in its memory."""
        await self.server.stop()
        await self.server.start()

    async def login(self, account: Account, tls: bool = False) -> ImapClient:
        """A session of the account, by TLS if asked for."""
        port, context = (self.server.imaps, imap.client_context()) if tls else (self.server.imap, None)
        client = await imap.connect(HOST, port, context)
        await client.login(account.address, PASSWORD)
        return client

    async def lmtp(self, count: int) -> list[LmtpClient]:
        return [await LmtpClient.connect(HOST, self.server.lmtp) for _ in range(count)]


async def deliver_all(
    server: Server, mails: "Sequence[bytes] | Iterator[bytes]", to: Sequence[Account], connections: int
) -> None:
    """Delivers the mails by LMTP over several connections, round robin."""
    supply = iter(mails)

    async def one(number: int) -> None:
        client = await LmtpClient.connect(HOST, server.lmtp)
        for mail in supply:
            await client.deliver(mail, to[number % len(to)].address)
        client.close()

    await asyncio.gather(*(one(number) for number in range(connections)))


class Work(ABC):
    """One work item; a new object for each run. Only `run` is measured."""

    name: ClassVar[str]
    title: ClassVar[str]
    unit: ClassVar[str] = "message"
    needs: ClassVar[frozenset[str]] = frozenset({IMAP, LMTP})  # of what a server offers; the others are left out

    def __init__(self, place: Place) -> None:
        self.place = place
        self.sizes = place.sizes

    @abstractmethod
    async def prepare(self) -> None: ...

    @abstractmethod
    async def run(self) -> Outcome: ...

    async def finish(self) -> None:  # noqa: B027 (most need it, not all)
        """Gives back what `prepare` opened."""
