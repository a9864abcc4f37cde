"""A second real mail server, aiosmtpd on loopback, which does as a test says: what the outbound queue sends to."""

import asyncio
import re
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult

HOST = "127.0.0.1"
SECONDS = 20.0
LONGEST_LINE = 1 << 20

# What is done at the end of a message's data, in place of a reply: the connection breaks; nothing until it does; the
# message is accepted after a while.
DIE, HANG, SLOW = "die", "hang", "slow"
WHILE = 1.0  # seconds
ACCEPTED = "250 2.0.0 Taken"


@dataclass(frozen=True)
class Taken:
    """A message that arrived whole. `recipients`: whom it was accepted for at RCPT, with their parameters.

    `reply`: what was said at its end; DIE or HANG for nothing. `login`: who was signed in.
    """

    sender: str
    recipients: dict[str, str]
    octets: bytes
    parameters: str
    reply: str
    tls: bool
    login: str

    @property
    def accepted(self) -> bool:
        return self.reply.startswith("2")


@dataclass
class Relay:
    """`with Relay() as relay`: running on `port`.

    `replies`: to RCPT, by address, one after the other, the last one for ever. `ends`: to the end of the data, by any
    recipient, one after the other; when they are used up the message is accepted. `commands`: MAIL and RCPT lines as
    they came.

    Args:
        context: of implicit TLS. options: of `aiosmtpd.smtp.SMTP`. dsn: whether DSN (RFC 3461) is offered.
    """

    dsn: bool = False
    context: ssl.SSLContext | None = None
    options: dict[str, Any] = field(default_factory=dict)
    login: tuple[str, str] | None = None
    replies: dict[str, list[str]] = field(default_factory=dict)
    ends: dict[str, list[str]] = field(default_factory=dict)
    messages: list[Taken] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    def __enter__(self) -> "Relay":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Again after `stop`: on the same port."""
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)))
        self._thread.start()
        assert started.wait(SECONDS)

    def stop(self) -> None:
        """Whoever is connected is cut off."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(SECONDS)

    async def _serve(self, started: threading.Event) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        sessions: list[_Session] = []

        def session() -> _Session:
            sessions.append(_Session(self, loop=self._loop))
            return sessions[-1]

        server = await self._loop.create_server(session, HOST, self.port, ssl=self.context)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self._stopped.wait()
        server.close()
        for each in sessions:
            each.cut()
        await asyncio.sleep(0.05)  # for the sessions to notice

    def reply(self, address: str) -> str:
        """To RCPT."""
        replies = self.replies.get(address) or ["250 2.1.5 Ok"]
        return replies.pop(0) if len(replies) > 1 else replies[0]

    def end(self, addresses: Sequence[str]) -> str:
        for address in addresses:
            if self.ends.get(address):
                return self.ends[address].pop(0)
        return ACCEPTED

    def seen(self, address: str) -> list[Taken]:
        """All that arrived whole with this recipient, accepted or not."""
        return [each for each in self.messages if address in each.recipients]


class _Session(SMTP):
    """`login`: who is signed in. `parameters`: of MAIL; `recipients`: those accepted, with their parameters."""

    line_length_limit = LONGEST_LINE

    def __init__(self, relay: Relay, **more: Any) -> None:
        self._relay = relay
        self.login = ""
        self.parameters = self.asked = ""
        self.recipients: dict[str, str] = {}
        relay.connections += 1
        if relay.login is not None:
            more |= {"auth_required": True, "authenticator": self._check_login}
        super().__init__(_Fate(relay), hostname="relay.test", timeout=SECONDS, **relay.options, **more)

    def _check_login(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        self.login = data.login.decode()
        return AuthResult(success=(self.login, data.password.decode()) == self._relay.login, handled=False)

    def cut(self) -> None:
        """Ends the connection without another word."""
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()

    # Parameters of DSN, which aiosmtpd does not know

    async def smtp_MAIL(self, arg: str | None) -> None:
        self._relay.commands.append(f"MAIL {arg}")
        rest, self.parameters = self._without_dsn(arg or "", "RET|ENVID")
        self.recipients = {}
        await super().smtp_MAIL(rest)

    async def smtp_RCPT(self, arg: str | None) -> None:
        self._relay.commands.append(f"RCPT {arg}")
        rest, self.asked = self._without_dsn(arg or "", "NOTIFY|ORCPT")
        await super().smtp_RCPT(rest)

    def _without_dsn(self, arg: str, names: str) -> tuple[str, str]:
        """The argument as aiosmtpd knows it, and all parameters behind the path."""
        path, _, parameters = arg.partition("> ")
        rest = re.sub(rf" (?:{names})=\S+", "", f" {parameters}") if self._relay.dsn else f" {parameters}"
        return (f"{path}>{rest}" if parameters else arg).rstrip(), parameters


class _Fate:
    """aiosmtpd's handler: what becomes of recipients and messages."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    async def handle_EHLO(self, server: Any, session: Any, envelope: Any, name: str, said: list[str]) -> list[str]:
        session.host_name = name
        return [said[0], "250-DSN", *said[1:]] if self._relay.dsn else said

    async def handle_RCPT(self, server: _Session, session: Any, envelope: Any, address: str, options: object) -> str:
        reply = self._relay.reply(address)
        if reply.startswith("2"):
            envelope.rcpt_tos.append(address)
            server.recipients[address] = server.asked
        return reply

    async def handle_DATA(self, server: _Session, session: Any, envelope: Any) -> str:
        reply = self._relay.end(envelope.rcpt_tos)
        taken = Taken(
            envelope.mail_from,
            dict(server.recipients),
            envelope.original_content,
            server.parameters,
            ACCEPTED if reply == SLOW else reply,
            session.ssl is not None or self._relay.context is not None,
            server.login,
        )
        self._relay.messages.append(taken)
        if reply == DIE:
            server.cut()
        if reply in (DIE, HANG):
            await asyncio.sleep(SECONDS)  # cancelled when the loss of the connection is noticed
        if reply == SLOW:
            await asyncio.sleep(WHILE)
        return taken.reply
