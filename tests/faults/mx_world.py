"""The Internet around a server that is its domain's MX: who sends to it, and who takes what it sends on.

Every message is known by its token from the first octet on, so that whatever comes of it can be held against it.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiosmtpd.smtp import SMTP

from tests.faults.actors import RETRY_SECONDS, Actor
from tests.faults.ledger import Gate, token_of
from tests.faults.queue_ledger import QueueLedger, Taken
from tests.faults.queue_wire import ACCEPTED, Smtp
from tests.faults.rig import HOST, Serve
from tests.faults.wire import LostError, open_stream

AWAY = "away.test"  # whose servers send; each message has a sender of its own
FAR = "far.test"  # where mail is forwarded to
# Recipient -> whom its mail is forwarded to, if anybody; a domain's own address, an account that forwards and answers,
# and one that does neither.
RECIPIENTS = {"team": "list", "anna": "copies", "bert": ""}
ANSWERS = "anna"
SLOW_SECONDS = 0.03


@dataclass(slots=True)
class Sent:
    """One message of a run. `tries`: how often its end was sent to the server."""

    token: str
    recipients: tuple[str, ...]
    tries: int = 0
    acknowledged: bool = False

    @property
    def sender(self) -> str:
        return f"{self.token}@{AWAY}"

    def octets(self) -> bytes:
        """Always the same."""
        chance = random.Random(self.token)
        to = ", ".join(f"<{name}@{HOST}>" for name in self.recipients)
        head = (
            f"From: <{self.sender}>\r\nTo: {to}\r\nSubject: {self.token}\r\nDate: Mon, 02 Nov 2026 10:00:00 +0100\r\n"
            f"Message-ID: <{self.token}@faults.example>\r\n\r\n"
        )
        return head.encode() + b".a line of a message\r\n" * chance.randrange(1, 150)

    def onward(self) -> set[str]:
        """What other servers have to get of it: keys of `QueueLedger.taken`."""
        return {f"{target}@{FAR} {self.token}" for name in self.recipients if (target := RECIPIENTS[name])}

    @property
    def answer(self) -> str:
        """The key of the automatic answer to it."""
        return f"{self.sender} {self.token}"


@dataclass(slots=True)
class MxLedger(QueueLedger):
    """`taken`: by recipient and token."""

    sent: dict[str, Sent] = field(default_factory=dict)  # by token


class Remote(Actor):
    """A server elsewhere: one message after the other, each again and again until it is acknowledged."""

    def __init__(self, name: str, seed: int, serves: Sequence[Serve], ledger: MxLedger, gate: Gate, port: int) -> None:
        super().__init__(name, seed, serves, ledger, gate)  # type: ignore[arg-type]
        self._mails = ledger
        self._port = port
        self._client: Smtp | None = None
        self._number = 0
        self._mail: Sent | None = None

    def lost(self) -> None:
        if self._client is not None:
            self._client.stream.abort()
        self._client = None

    async def turn(self) -> None:
        """Raises: LostError."""
        if self._mail is None:
            await self.gate.passing()
            await asyncio.sleep(self.chance.random() * 0.03)
            self._number += 1
            named = tuple(name for name in RECIPIENTS if self.chance.random() < 0.6) or ("bert",)
            self._mail = Sent(f"{self.name}-{self._number}", named)
            self._mails.sent[self._mail.token] = self._mail
        mail = self._mail
        if self._client is None:
            self._client = await self._connect()
        begun = time.monotonic()
        recipients = [f"<{name}@{HOST}>" for name in mail.recipients]
        code, text = await self._client.submit(f"<{mail.sender}>", recipients, mail.octets(), self._ended)
        if code == ACCEPTED:
            mail.acknowledged, self._mail = True, None
            now = time.monotonic()
            self._mails.commits.append((now, self.serves[0].host, now - begun))
            self._mails.done("taken" if mail.tries == 1 else "taken again")
            return
        if code >= 500:
            self._mails.broken.append(f"{mail.token} was refused: {text}")
        self._mails.done(f"deferred: {text[:9]}")
        await asyncio.sleep(RETRY_SECONDS)

    def _ended(self) -> None:
        assert self._mail is not None
        self._mail.tries += 1
        self._mails.moments.now("sent", self.serves[0].host)

    async def _connect(self) -> Smtp:
        client = Smtp(await open_stream(self._port))
        with client.stream.kept():
            for line in ("", f"EHLO mx.{AWAY}"):
                code, text = await (client.say(line) if line else client.reply())
                if code not in (220, 250):
                    raise LostError(text)
        return client


class Onward:
    """aiosmtpd's handler: the relay that takes what the server sends on, now and then only the second time."""

    def __init__(self, ledger: MxLedger, seed: int) -> None:
        self._ledger = ledger
        self._chance = random.Random(f"{seed}:onward")

    async def handle_EHLO(self, server: Any, session: Any, envelope: Any, name: str, lines: list[str]) -> list[str]:
        session.host_name = name
        session.serve_start = self._ledger.serve(name).starts
        return lines

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        await asyncio.sleep(self._chance.random() * SLOW_SECONDS)
        if self._chance.random() < 0.1:
            return "451 4.3.0 Come back later"
        octets = envelope.original_content
        answers = octets.partition(b"\r\nIn-Reply-To: ")[2]
        mail = self._ledger.sent[token_of(answers or octets.partition(b"\r\nMessage-ID: ")[2])]
        if not answers and not octets.endswith(b"\r\n" + mail.octets()):
            self._ledger.broken.append(f"{mail.token} came on with other octets")
        event = Taken(time.monotonic(), session.host_name, session.serve_start, answered=True)
        for address in envelope.rcpt_tos:
            self._ledger.taken.setdefault(f"{address} {mail.token}", []).append(event)
        self._ledger.operations += 1
        self._ledger.moments.now("relayed", session.host_name)
        return "250 2.0.0 Taken"


@asynccontextmanager
async def onward(port: int, ledger: MxLedger, seed: int) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    handler = Onward(ledger, seed)
    server = await loop.create_server(lambda: SMTP(handler, hostname="relay.test", loop=loop), "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()
