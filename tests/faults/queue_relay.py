"""The other server: aiosmtpd on loopback, which takes, defers and refuses as the addresses say, and notes all of it."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiosmtpd.smtp import SMTP

from tests.faults.ledger import token_of
from tests.faults.queue_ledger import FAR, Data, Fate, QueueLedger, Taken, make_mail

SLOW_SECONDS = 0.03  # the longest thought before an answer

_DEFERRALS = {Fate.LATE: 1, Fate.LATER: 2, Fate.BUSY: 1}
_REPLIES = {
    Fate.REFUSED: "550 5.1.1 No such user",
    Fate.BUSY: "421 4.3.2 Too busy",
}


class Relay:
    """aiosmtpd's handler."""

    def __init__(self, ledger: QueueLedger, seed: int) -> None:
        self._ledger = ledger
        self._chance = random.Random(f"{seed}:relay")
        self._tries: Counter[str] = Counter()  # by address, or by token of a message

    async def handle_EHLO(self, server: Any, session: Any, envelope: Any, name: str, lines: list[str]) -> list[str]:
        session.host_name = name
        session.serve_start = self._ledger.serve(name).starts
        return lines

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        await self._think()
        name, _, domain = address.partition("@")
        fate = Fate(name.partition("-")[0])
        if domain != FAR:
            self._ledger.broken.append(f"{address} was sent to the relay")
        self._tries[address] += 1
        if fate in (Fate.REFUSED, Fate.NEVER) or self._tries[address] <= _DEFERRALS.get(fate, 0):
            return _REPLIES.get(fate, "451 4.7.1 Come back later")
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        await self._think()
        token = token_of(envelope.original_content.partition(b"Message-ID: ")[2])
        mail = self._ledger.mails[token]
        if not envelope.original_content.endswith(b"\r\n" + make_mail(mail)):
            self._ledger.broken.append(f"{token} came to the relay with other octets")
        if not set(envelope.rcpt_tos) <= set(mail.remote) or envelope.mail_from.partition("@")[0] != mail.sender:
            self._ledger.broken.append(f"{token} came from {envelope.mail_from} for {envelope.rcpt_tos}")
        self._tries[token] += 1
        first = self._tries[token] == 1
        if mail.data is Data.REFUSED:
            return "554 5.6.0 Not this one"
        if first and mail.data is Data.DEFERRED:
            return "451 4.3.0 Disk full"
        if first and mail.data in (Data.TAKEN_UNSAID, Data.DROPPED):
            if mail.data is Data.TAKEN_UNSAID:
                self._take(session, envelope, answered=False)
            server.transport.abort()
            raise ConnectionResetError
        self._take(session, envelope, answered=True)
        self._ledger.moments.now("relayed", session.host_name)
        return "250 2.0.0 Taken"

    def _take(self, session: Any, envelope: Any, *, answered: bool) -> None:
        event = Taken(time.monotonic(), session.host_name, session.serve_start, answered)
        for address in envelope.rcpt_tos:
            self._ledger.taken.setdefault(address, []).append(event)
        self._ledger.operations += 1

    async def _think(self) -> None:
        await asyncio.sleep(self._chance.random() * SLOW_SECONDS)


@asynccontextmanager
async def listening(port: int, ledger: QueueLedger, seed: int) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    relay = Relay(ledger, seed)
    server = await loop.create_server(lambda: SMTP(relay, hostname="relay.test", loop=loop), "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()
