"""Send a message through a running server, with an account of its own that is removed again, and report each step."""

import argparse
import imaplib
import os
import secrets
import smtplib
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from cryptography import x509

from duckmail.app import Services, open_services
from duckmail.cli import firststart, probes
from duckmail.cli.common import config_arguments, configuration
from duckmail.cli.databases import databases
from duckmail.config.schema import Config
from duckmail.errors import DuckmailError
from duckmail.runtime import loop
from duckmail.services.access import SYSTEM
from duckmail.services.users import NewUser
from storage.diagnosis import facts

# DESIGN §5: a dead client's transaction blocks its mailboxes for as long as the server keeps it.
LONGEST_TRANSACTION = 10
CERTIFICATE_DAYS = 14

_FAILURES = (DuckmailError, probes.ProbeError, OSError, smtplib.SMTPException, imaplib.IMAP4.error, ValueError)


class Report:
    """Prints each step as it ends; `failed` counts those that did."""

    def __init__(self) -> None:
        self.failed = 0

    async def step(self, name: str, work: Callable[[], Awaitable[str]]) -> bool:
        """Runs one step; whether it succeeded. Its result that begins with `!` is a warning."""
        begun = time.monotonic()
        try:
            said = await work()
        except _FAILURES as error:
            self.failed += 1
            print(f"FAIL  {name}: {str(error) or type(error).__name__}")
            return False
        took = (time.monotonic() - begun) * 1000
        word = "warn" if said.startswith("!") else "ok  "
        print(f"{word}  {name}: {said.lstrip('!')} ({took:.0f} ms)")
        return True


def arguments(parser: argparse.ArgumentParser) -> None:
    config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    return loop.run(_examine(configuration(args)))


async def _examine(config: Config) -> int:
    report = Report()

    async def check_certificate() -> str:
        return _certificate(config)

    await report.step("certificate", check_certificate)
    async with (
        databases(config, attach=True) as found,
        open_services(config, found, f"doctor:{os.getpid()}") as services,
    ):
        await report.step("MongoDB", lambda: _mongo(services))
        await report.step("database and Redis", lambda: _health(services))
        await _message(config, services, report)
        await _api(config, services, report)
    print("all is well" if not report.failed else f"{report.failed} steps failed; is the server running?")
    return 1 if report.failed else 0


def _certificate(config: Config) -> str:
    crt, key = firststart.certificate(config, config.server.hostname or socket.getfqdn())
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(crt, key, password=lambda: b"")
    ends = x509.load_pem_x509_certificate(crt.read_bytes()).not_valid_after_utc
    days = (ends - datetime.now(UTC)).days
    return f"{'!' if days < CERTIFICATE_DAYS else ''}{crt} is valid for {days} days"


async def _mongo(services: Services) -> str:
    found = await facts(services.store.client)
    said = f"MongoDB {found.version}, {found.topology}"
    if found.topology == "standalone":
        raise probes.ProbeError(f"{said}: duckmail needs a replica set or a sharded cluster")
    if found.transaction_seconds > LONGEST_TRANSACTION:
        advice = f"set transactionLifetimeLimitSeconds to {LONGEST_TRANSACTION} or less"
        return f"!{said}: {advice}, it is {found.transaction_seconds}"
    return said


async def _health(services: Services) -> str:
    problem = await services.store.health.problem()
    if problem:
        raise probes.ProbeError(problem)
    return "written and read"


async def _message(config: Config, services: Services, report: Report) -> None:
    """The path of a message: account, LMTP, IMAP, account removed."""
    token, password = secrets.token_hex(8), secrets.token_urlsafe(16)
    name = f"doctor-{token}"

    async def make() -> str:
        return await services.users.create(NewUser(username=name, password=password), SYSTEM)

    if not await report.step("account made", make):
        return
    user = await services.users.resolve(name, SYSTEM)
    try:
        address = (await services.users.get(user, SYSTEM)).address
        octets = probes.message(address, token)
        await report.step("delivered", lambda: _deliver(config, services, address, octets))
        await report.step("read", lambda: _read(config, services, name, password, octets))
    finally:

        async def remove() -> str:
            await services.users.delete(user, SYSTEM)
            return name

        await report.step("account removed", remove)


async def _deliver(config: Config, services: Services, address: str, octets: bytes) -> str:
    if not config.lmtp.enabled:
        return "!LMTP is switched off"
    where = probes.unix_path(config.lmtp.listen) or probes.target(config.lmtp.listen)
    if not where:
        return "!LMTP listens only on sockets of systemd"
    return await services.threads.run(probes.deliver, where, address, octets)


async def _read(config: Config, services: Services, name: str, password: str, octets: bytes) -> str:
    if not config.imap.enabled:
        return "!IMAP is switched off"
    secure, plain = probes.target(config.imap.listen_tls), probes.target(config.imap.listen)
    where = secure or plain
    if where is None:
        return "!IMAP has no TCP listener"
    return await services.threads.run(probes.read, where, secure is not None, name, password, octets)


async def _api(config: Config, services: Services, report: Report) -> None:
    where = probes.target(config.api.listen)
    if not config.api.enabled or where is None:
        return
    token = firststart.api_token(config)
    await report.step("API", lambda: services.threads.run(probes.health, where, token.text if token else ""))
