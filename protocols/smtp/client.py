"""Hands a message to another server: finds its addresses, connects, secures the connection, sends, says goodbye.

- What a server does, or fails to do, is an outcome and no exception. Only a reply of 500 and more that concerns the
  message is permanent; code 0 tells of the host or the connection: another host, or the same later, may do better.
- DATA is used with every server, not BDAT (RFC 3030), also where CHUNKING is offered: BDAT sends a whole message to a
  server that has refused all its recipients, and would be a second way to frame messages, for one round trip less.
- A host that a stranger names (the MX of a recipient's domain) is connected to where `Outward` permits it.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import ip_address
from socket import SOCK_STREAM
from typing import Protocol

from duckmail.errors import NotFound, Unavailable
from duckmail.model.queue import Destination, Letter, Outcome, QueueRecipient
from duckmail.model.transport import Failure, Session
from duckmail.runtime.log import event
from protocols.net.outgoing import Outgoing
from protocols.smtp.client_connection import UNPROTECTED, Failed, SmtpConnection, StartTlsRefused, TlsFailed
from protocols.smtp.client_idle import Idle, Key
from protocols.smtp.client_settings import ClientContexts, SmtpClientSettings
from protocols.smtp.client_transaction import transact

# How a connection is secured: `Destination.tls`.
MAY, VERIFY, NEVER, IMPLICIT = "may", "verify", "never", "implicit"
TRY, ENCRYPT, DANE = "try", "encrypt", "dane"

_logger = logging.getLogger("duckmail.smtp.client")


class Resolver(Protocol):
    """The addresses of hosts, from DNS."""

    async def addresses(self, host: str) -> list[str]:
        """At least one address, in the order to try. Raises NotFound, Unavailable."""
        ...


class SmtpCourier:
    """Sends letters by SMTP, several to the same server through one connection; `close` it at the end."""

    def __init__(
        self,
        settings: SmtpClientSettings,
        resolver: Resolver,
        contexts: ClientContexts,
        note: Callable[[Session], None] = lambda session: None,
    ) -> None:
        """`note`: is told what came of TLS under the policy of a domain."""
        self._settings = settings
        self._resolver = resolver
        self._contexts = contexts
        self._note = note
        self._idle = Idle(settings.idle, settings.most_idle)

    async def send(
        self, destination: Destination, letter: Letter, recipients: Sequence[QueueRecipient]
    ) -> list[Outcome]:
        """One attempt; one outcome per recipient, in order.

        Raises:
            Whatever reading the letter's content raises; nothing was delivered then.
        """
        if not recipients:
            return []
        key = Key(destination, _policy(destination, letter))
        waiting = self._idle.take(key)
        if waiting is not None:
            waiting.prolong(self._deadline())
            outcomes = await self._transact(key, waiting, letter, recipients)
            if not _was_gone(waiting, outcomes):
                return outcomes
        try:
            connection = await self._connect(destination, key.policy, letter.envelope.requiretls)
        except Failed as failure:
            host = destination.host if failure.code else ""
            found = Outcome("", failure.code, failure.status, failure.text, host, early=True)
            outcomes = [replace(found, address=one.address) for one in recipients]
            _report(destination, None, outcomes)
            return outcomes
        return await self._transact(key, connection, letter, recipients)

    def close(self) -> None:
        """Ends the connections that wait for more."""
        self._idle.close()

    async def _transact(
        self, key: Key, connection: SmtpConnection, letter: Letter, recipients: Sequence[QueueRecipient]
    ) -> list[Outcome]:
        begun = time.monotonic()
        try:
            outcomes = await transact(connection, letter, recipients)
        except BaseException:
            connection.abort()
            raise
        connection.messages += 1
        if self._may_stay(connection, outcomes):
            self._idle.keep(key, connection)
        else:
            connection.quit()
        _report(key.destination, connection, outcomes, time.monotonic() - begun)
        return outcomes

    def _may_stay(self, connection: SmtpConnection, outcomes: Sequence[Outcome]) -> bool:
        """Only behind a message that was taken: what a server thinks after an error, nobody can know."""
        most = min(self._settings.messages, connection.extensions.most_messages or self._settings.messages)
        taken = any(outcome.accepted for outcome in outcomes)
        return taken and not connection.broken and not connection.interrupted and connection.messages < most

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._settings.message_timeout

    # From a host name to a connection that is ready for MAIL; all of it raises Failed

    async def _connect(self, destination: Destination, policy: str, requiretls: bool) -> SmtpConnection:
        """A session with the first address of the host that gives one."""
        deadline = self._deadline()
        failure = Failed(0, "4.4.4", f"{destination.host} has no address")
        # RFC 5321 §5.1: the addresses of a host are tried one after the other until one succeeds.
        for address in await self._addresses(destination.host, destination.port):
            try:
                return await self._session(destination, address, policy, requiretls, deadline)
            except Failed as error:
                failure = error
                if failure.code >= 500:
                    break
        raise failure

    async def _addresses(self, host: str, port: int) -> list[str]:
        if host.lower() in self._settings.relays:
            found = await self._system_addresses(host)
        elif _is_address(host):
            found = [host]
        else:
            found = await self._dns_addresses(host)
        if host.lower() not in self._settings.relays:
            found = [address for address in found if self._settings.outward.permits(address, port)]
            if not found:
                raise Failed(0, "4.4.4", f"{host} has no address in the public Internet")
        return found[: self._settings.max_addresses]

    async def _dns_addresses(self, host: str) -> list[str]:
        try:
            return await self._resolver.addresses(host)
        except NotFound as error:
            raise Failed(0, "4.4.4", f"{host}: {error.text}") from error
        except Unavailable as error:
            raise Failed(0, "4.4.3", f"{host}: {error.text}") from error

    async def _system_addresses(self, host: str) -> list[str]:
        """As the system finds them, with its hosts file and search domains: for names that an administrator wrote."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._settings.connect_timeout):
                found = await loop.getaddrinfo(host, None, type=SOCK_STREAM)
        except TimeoutError as error:
            raise Failed(0, "4.4.3", f"{host}: the look-up timed out") from error
        except (OSError, UnicodeError) as error:  # UnicodeError: what cannot be a host name
            raise Failed(0, "4.4.3", f"{host}: not found by the system") from error
        return list(dict.fromkeys(str(sockaddr[0]).partition("%")[0] for *_, sockaddr in found))

    async def _session(
        self, destination: Destination, address: str, policy: str, requiretls: bool, deadline: float
    ) -> SmtpConnection:
        if policy == TRY:
            try:
                return await self._attempt(destination, address, VERIFY, requiretls, deadline)
            except Failed as error:
                if error.status not in {"4.7.4", "4.7.5"}:  # no TLS, or not theirs
                    raise
                # What came of it is noted already.
                destination, policy = replace(destination, applied=None), MAY
        try:
            return await self._attempt(destination, address, policy, requiretls, deadline)
        except TlsFailed:
            if policy != MAY:
                raise
        # RFC 7435 §3: opportunistic encryption that does not work must not stop the mail.
        return await self._attempt(destination, address, NEVER, requiretls, deadline)

    async def _attempt(
        self, destination: Destination, address: str, policy: str, requiretls: bool, deadline: float
    ) -> SmtpConnection:
        host, settings = destination.host, self._settings
        try:
            wire = await Outgoing.dial(address, destination.port, settings.connect_timeout)
        except OSError as error:
            reason = "timed out" if isinstance(error, TimeoutError) else os.strerror(error.errno or 0)
            raise Failed(0, "4.4.1", f"Connecting to {host} ({address}) port {destination.port}: {reason}") from error
        connection = SmtpConnection(wire, host, settings, deadline)
        try:
            if policy == IMPLICIT:
                await connection.secure(self._contexts.verifying)
            await connection.greet()
            await connection.hello()
            if policy not in {NEVER, IMPLICIT}:
                await self._noted_tls(connection, destination, address, policy, requiretls)
            if destination.username:
                await connection.auth(destination.username, destination.password)
        except Failed:
            connection.quit()
            raise
        except BaseException:
            connection.abort()
            raise
        return connection

    async def _noted_tls(
        self, connection: SmtpConnection, destination: Destination, address: str, policy: str, requiretls: bool
    ) -> None:
        def note(failure: Failure | None, detail: str = "") -> None:
            if destination.applied is not None:
                self._note(Session(destination.applied, destination.host, address, failure, detail))

        try:
            await self._start_tls(connection, destination, policy, requiretls)
        except TlsFailed as error:
            note(error.reason, error.text)
            raise
        except Failed as error:
            if not connection.extensions.offers("STARTTLS") or isinstance(error, StartTlsRefused):
                note(Failure.NO_STARTTLS)
            raise
        note(None if connection.security != UNPROTECTED else Failure.NO_STARTTLS)

    async def _start_tls(
        self, connection: SmtpConnection, destination: Destination, policy: str, requiretls: bool
    ) -> None:
        if not connection.extensions.offers("STARTTLS"):
            if policy == MAY:
                return
            if requiretls:
                raise Failed(550, "5.7.30", f"{connection.host} does not support REQUIRETLS, nor any TLS")
            raise Failed(0, "4.7.4", f"{connection.host} does not offer STARTTLS")
        contexts = self._contexts
        try:
            await connection.starttls(contexts.verifying if policy == VERIFY else contexts.opportunistic)
        except StartTlsRefused:
            if policy != MAY:
                raise
            return
        if policy == DANE:
            connection.authenticate(destination.tlsa, destination.names)
        # RFC 3207 §4.2: what was learned in plaintext is forgotten.
        await connection.hello()


def _policy(destination: Destination, letter: Letter) -> str:
    """How this connection is to be secured: as configured, or better."""
    if destination.tls == IMPLICIT:
        return IMPLICIT
    if destination.username:  # a password is shown to nobody but the server it was meant for
        return VERIFY
    # RFC 8689 §4.2.1: REQUIRETLS asks for a server that has proved its name.
    return VERIFY if letter.envelope.requiretls and destination.tls not in {NEVER, DANE} else destination.tls


def _was_gone(connection: SmtpConnection, outcomes: Sequence[Outcome]) -> bool:
    """The server had closed a connection that waited, or had enough of it: that says nothing of the message."""
    return connection.broken and all(not outcome.ambiguous and outcome.code in {0, 421} for outcome in outcomes)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _report(
    destination: Destination, connection: SmtpConnection | None, outcomes: Sequence[Outcome], seconds: float = 0.0
) -> None:
    """One line per attempt; no addresses, and not the server's words, which may hold them."""
    taken = sum(outcome.accepted for outcome in outcomes)
    refused = sum(outcome.permanent for outcome in outcomes)
    event(
        _logger,
        logging.INFO,
        "sent by SMTP" if taken else "not sent by SMTP",
        host=destination.host,
        port=destination.port,
        tls=connection.security if connection is not None else "",
        messages=connection.messages if connection is not None else 0,
        accepted=taken,
        refused=refused,
        deferred=len(outcomes) - taken - refused,
        statuses=sorted({outcome.status for outcome in outcomes})[:10],
        seconds=round(seconds, 3),
    )
