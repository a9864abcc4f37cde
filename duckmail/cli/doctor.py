"""Look at a running server as its clients do: every listener, the databases, and one message through the whole path.

The message goes to an account of its own that is removed again, or to that of --account, whose password is asked for;
there the message is expunged behind the check. The exit status is 1 when a step failed.
"""

import argparse
import getpass
import imaplib
import os
import secrets
import smtplib
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from duckmail.app.services import Services, open_services
from duckmail.cli import firststart, probes
from duckmail.cli.common import LONGEST_PASSWORD_LINE, config_arguments, configuration
from duckmail.cli.databases import databases
from duckmail.config.schema import Config
from duckmail.errors import DuckmailError, InvalidInput, NotFound
from duckmail.runtime import loop
from duckmail.services.access import SYSTEM
from duckmail.services.users import NewUser
from protocols.net.peer import Networks, Peer
from storage.diagnosis import facts, redis_version

# DESIGN §5: a dead client's transaction blocks its mailboxes for as long as the server keeps it.
LONGEST_TRANSACTION = 10
CERTIFICATE_DAYS = 14
CLOCK_SECONDS = 2.0

_FAILURES = (DuckmailError, probes.ProbeError, OSError, smtplib.SMTPException, imaplib.IMAP4.error, ValueError)


class Warn(Exception):
    """The step found something to look at; the server works."""


class Report:
    """Prints each step as it ends; `failed` counts those that did."""

    def __init__(self) -> None:
        self.failed = 0

    async def step(self, name: str, work: Callable[[], Awaitable[str]]) -> bool:
        """Runs one step; whether it succeeded."""
        begun = time.monotonic()
        try:
            word, said = "OK  ", await work()
        except Warn as warning:
            word, said = "WARN", str(warning)
        except _FAILURES as error:
            word, said = "FAIL", _reason(error)
            self.failed += 1
        print(f"{word}  {name}: {said} ({(time.monotonic() - begun) * 1000:.0f} ms)", flush=True)
        return word != "FAIL"


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


@dataclass(frozen=True, slots=True)
class Mailbox:
    """Who gets the message. `password`: for IMAP."""

    name: str
    address: str
    password: str


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--account", metavar="NAME", help="an account to deliver to, instead of one made for the check")
    config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    config = configuration(args)
    password = _password(args.account) if args.account else ""
    return loop.run(_examine(config, args.account, password))


def _password(name: str) -> str:
    """Asked for on a terminal, else the first line of standard input. Raises: InvalidInput."""
    if sys.stdin.isatty():
        password = getpass.getpass(f"Password of {name}: ")
    else:
        password = sys.stdin.readline(LONGEST_PASSWORD_LINE).rstrip("\r\n")
    if not password:
        raise InvalidInput("No password was given")
    return password


async def _examine(config: Config, account: str | None, password: str) -> int:
    report = Report()
    async with (
        databases(config, attach=True) as found,
        open_services(config, found, f"doctor:{os.getpid()}") as services,
    ):
        await report.step("MongoDB", lambda: _mongo(services))
        await report.step("clock", lambda: _clock(services))
        await report.step("schema", lambda: _schema(services))
        await report.step("Redis", lambda: _redis(services))
        await report.step("database writes", lambda: _health(services))
        doctor = Doctor(config, services, report)
        if Peer("127.0.0.1", 0) in Networks(config.proxy.peers):
            await report.step("mail listeners", _proxied)
        else:
            await doctor.listeners()
            await doctor.postmaster()
            await doctor.certificate()
            async with doctor.mailbox(account, password) as mailbox:
                if mailbox is not None:
                    await doctor.message(mailbox, remove=account is not None)
        await doctor.api()
    print("all is well" if not report.failed else f"{report.failed} steps failed; is the server running?")
    return 1 if report.failed else 0


async def _proxied() -> str:
    raise Warn("not looked at: they expect a PROXY header from this machine (proxy.peers)")


async def _mongo(services: Services) -> str:
    found = await facts(services.store.client)
    said = f"MongoDB {found.version}, {found.topology}"
    if found.topology == "standalone":
        raise probes.ProbeError(f"{said}: duckmail needs a replica set or a sharded cluster")
    if found.transaction_seconds > LONGEST_TRANSACTION:
        advice = f"set transactionLifetimeLimitSeconds to {LONGEST_TRANSACTION} or less"
        raise Warn(f"{said}: {advice}, it is {found.transaction_seconds}")
    return said


async def _clock(services: Services) -> str:
    ahead = (await facts(services.store.client)).clock_ahead
    said = f"MongoDB's is {abs(ahead):.3f} s {'ahead of' if ahead >= 0 else 'behind'} this machine's"
    if abs(ahead) > CLOCK_SECONDS:
        raise Warn(f"{said}: set both by NTP")
    return said


async def _schema(services: Services) -> str:
    return f"version {await services.store.schema.version()}"


async def _redis(services: Services) -> str:
    if services.store.redis is None:
        raise Warn("none is configured: processes see each other's changes by asking every 2 s")
    return await redis_version(services.store.redis)


async def _health(services: Services) -> str:
    problem = await services.store.health.problem()
    if problem:
        raise probes.ProbeError(problem)
    return "written and read"


class Doctor:
    """The steps that go through the listeners of the running server."""

    def __init__(self, config: Config, services: Services, report: Report) -> None:
        self._config = config
        self._services = services
        self._report = report
        self._thread = services.threads.run

    # -- listeners -------------------------------------------------------------------------------------------------

    async def listeners(self) -> None:
        """The greeting of every one."""
        config = self._config
        kinds: list[tuple[bool, str, Sequence[str], bool, bytes]] = [
            (config.imap.enabled, "IMAP", config.imap.listen, False, b"* OK "),
            (config.imap.enabled, "IMAP, TLS", config.imap.listen_tls, True, b"* OK "),
            (config.lmtp.enabled, "LMTP", config.lmtp.listen, False, b"220 "),
            (True, "MX", config.mx.listen, False, b"220"),
        ]
        for enabled, label, listeners, tls, expected in kinds:
            for text, where in probes.targets(listeners) if enabled else ():
                await self._report.step(f"{label} on {text}", partial(self._greeting, where, tls, expected))

    async def postmaster(self) -> None:
        """Whether mail for the postmaster, which the MX listener has to take, has somewhere to go."""
        if self._config.mx.listen:
            await self._report.step("postmaster", self._postmaster)

    async def _postmaster(self) -> str:
        address = self._config.lmtp.postmaster or f"postmaster@{self._services.hostname}"
        try:
            found = await self._services.delivery.recipient(address)
        except NotFound:
            raise Warn(f"nobody is {address}: such mail is deferred until there is one") from None
        return found.address

    async def _greeting(self, where: probes.Target | None, tls: bool, expected: bytes) -> str:
        if where is None:
            raise Warn("not looked at: only systemd knows where it listens")
        return await self._thread(probes.greeting, where, tls, expected)

    async def certificate(self) -> None:
        where = probes.tcp(self._config.imap.listen_tls) if self._config.imap.enabled else None
        if where is not None:
            await self._report.step("certificate", lambda: self._certificate(where))

    async def _certificate(self, where: tuple[str, int]) -> str:
        """The one that the server shows, and whether it is the one in the file."""
        shown = await self._thread(probes.certificate, where)
        days = probes.days_left(shown)
        file, key = firststart.certificate(self._config, self._services.hostname)
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(file, key, password=lambda: b"")
        if _der(x509.load_pem_x509_certificate(file.read_bytes())) != _der(shown):
            raise Warn(f"the server shows another one than {file}: send it SIGHUP")
        said = f"{file} is valid for {days} days"
        if days < CERTIFICATE_DAYS:
            raise Warn(said)
        return said

    # -- a message -------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def mailbox(self, account: str | None, password: str) -> AsyncIterator[Mailbox | None]:
        """The named account, else one that lives as long as the context; None when it cannot be had."""
        users = self._services.users
        if account is not None:
            user = await users.sign_in_name(account)
            if user is None or not user.address:
                raise InvalidInput(f"There is no account {account} with an address")
            yield Mailbox(account, user.address, password)
            return
        name, secret = f"doctor-{secrets.token_hex(8)}", secrets.token_urlsafe(16)
        identifier = ""

        async def make() -> str:
            nonlocal identifier
            identifier = await users.create(NewUser(username=name, password=secret), SYSTEM)
            return name

        async def remove() -> str:
            await users.delete(identifier, SYSTEM)
            return name

        if not await self._report.step("account made", make):
            yield None
            return
        try:
            yield Mailbox(name, (await users.get(identifier, SYSTEM)).address, secret)
        finally:
            await self._report.step("account removed", remove)

    async def message(self, mailbox: Mailbox, *, remove: bool) -> None:
        """LMTP, the push to a session in IDLE, and what IMAP gives back both ways. `remove`: expunge it behind that."""
        token = secrets.token_hex(8)
        octets = probes.message(mailbox.address, token)
        readers = [(label, where, tls) for label, where, tls in self._imap_ways() if where is not None]
        idle = await self._idle(mailbox, readers)
        since = time.monotonic()
        try:
            if await self._report.step("delivered", lambda: self._deliver(mailbox, octets)) and idle is not None:
                await self._report.step("pushed", lambda: self._thread(idle.pushed, since))
        finally:
            if idle is not None:
                idle.close()
        for label, where, tls in readers:
            await self._report.step(f"read, {label}", partial(self._read, mailbox, where, tls, token, octets))
        if remove and readers:
            await self._report.step("message removed", partial(self._remove, mailbox, *readers[0][1:], token))

    def _imap_ways(self) -> list[tuple[str, tuple[str, int] | None, bool]]:
        imap = self._config.imap
        if not imap.enabled:
            return []
        ways = [("TLS", probes.tcp(imap.listen_tls), True)]
        if imap.starttls or imap.plaintext_login:
            ways.append(("STARTTLS" if imap.starttls else "no TLS", probes.tcp(imap.listen), False))
        return ways

    async def _idle(self, mailbox: Mailbox, ways: Sequence[tuple[str, tuple[str, int], bool]]) -> probes.Reader | None:
        """A session in IDLE, None when there is none: the step about reading says why."""
        if not ways:
            return None
        _, where, tls = ways[0]
        try:
            reader: probes.Reader = await self._thread(probes.Reader, where, tls, mailbox.name, mailbox.password)
            await self._thread(reader.idle)
        except _FAILURES:
            return None
        return reader

    async def _deliver(self, mailbox: Mailbox, octets: bytes) -> str:
        if not self._config.lmtp.enabled:
            raise Warn("LMTP is switched off")
        known = [where for _, where in probes.targets(self._config.lmtp.listen) if where is not None]
        if not known:
            raise Warn("LMTP listens only on sockets of systemd")
        return await self._thread(probes.deliver, known[0], mailbox.address, octets)

    async def _read(self, mailbox: Mailbox, where: tuple[str, int], tls: bool, token: str, octets: bytes) -> str:
        reader: probes.Reader = await self._thread(probes.Reader, where, tls, mailbox.name, mailbox.password)
        try:
            return await self._thread(reader.check, token, octets)
        finally:
            reader.close()

    async def _remove(self, mailbox: Mailbox, where: tuple[str, int], tls: bool, token: str) -> str:
        reader: probes.Reader = await self._thread(probes.Reader, where, tls, mailbox.name, mailbox.password)
        try:
            return await self._thread(reader.remove, token)
        finally:
            reader.close()

    # -- API -------------------------------------------------------------------------------------------------------

    async def api(self) -> None:
        where = probes.tcp(self._config.api.listen) if self._config.api.enabled else None
        if where is None:
            return
        token = firststart.api_token(self._config)
        await self._report.step("API", lambda: self._thread(probes.health, where, token.text if token else ""))


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)
