"""One connection to an SMTP server, command by command: greet, hello, starttls, auth, messages, reset, quit."""

import asyncio
import ssl
from collections.abc import Sequence

from duckmail.model.transport import Failure, Tlsa
from protocols.net.outgoing import Outgoing, PlaintextBehindAnswer
from protocols.smtp.client_settings import SmtpClientSettings
from protocols.smtp.dane import authenticated
from protocols.smtp.wire.client_commands import encoded, line, plain
from protocols.smtp.wire.client_extensions import Extensions, extensions
from protocols.smtp.wire.client_replies import ReplyError, ReplyReader, enhanced, words
from protocols.smtp.wire.reply import Reply

# RFC 5321 §3.2: a server that does not know EHLO answers 500 or 502; older ones also 501 and 504.
_NO_EHLO = frozenset({500, 501, 502, 504})

# What OpenSSL says of a certificate (X509_V_ERR_...).
_FAILURES = {10: Failure.EXPIRED, 62: Failure.HOST_MISMATCH, 64: Failure.HOST_MISMATCH}

FAREWELL = 2.0  # seconds in which a server may answer QUIT
# What `SmtpConnection.security` can be. VERIFIED: the server proved its name by a certificate.
UNPROTECTED, UNVERIFIED, VERIFIED = "none", "unverified", "verified"


class Failed(Exception):
    """The session cannot go on.

    `code`, `status`, `text` are as in `duckmail.model.queue.Outcome`: the server's own words when it said why, else
    code 0. That is temporary: it tells of this connection, not of the message.
    """

    def __init__(self, code: int, status: str, text: str) -> None:
        self.code, self.status, self.text = code, status, text
        super().__init__(text)

    @classmethod
    def by(cls, reply: Reply) -> "Failed":
        """What the server said."""
        return cls(reply.code, enhanced(reply), words(reply))


class StartTlsRefused(Failed):
    """The server offers STARTTLS and does not do it; the session can go on in plaintext."""


class TlsFailed(Failed):
    """The handshake failed, or did not prove what it should: the connection is of no use any more.

    `reason`: as reports name it.
    """

    def __init__(self, text: str, reason: Failure) -> None:
        self.reason = reason
        super().__init__(0, "4.7.5", text)


class SmtpConnection:
    """A dialogue with the server at the other end of `wire`; `extensions` are the ones it offers now.

    Every method raises `Failed`. Once one did for another reason than a reply, the connection is `broken`.

    Args:
        wire: owned by this object from now on.
        host: the server's name, to say who failed.
        deadline: loop time at which all waiting ends.
    """

    def __init__(self, wire: Outgoing, host: str, settings: SmtpClientSettings, deadline: float) -> None:
        self.host = host
        self.settings = settings
        self.extensions = Extensions()
        self.broken = False
        self.security = UNPROTECTED
        self.messages = 0  # sent to their end
        self._wire = wire
        self._replies = ReplyReader()
        self._deadline = deadline
        self._loop = asyncio.get_running_loop()

    # The parts of a session, in their order

    async def greet(self) -> None:
        """Waits for the server's greeting."""
        reply = await self.reply(self.settings.greeting_timeout, "the greeting")
        if reply.code // 100 != 2:
            raise Failed.by(reply)

    async def hello(self) -> None:
        """Says who we are and learns what the server offers."""
        name = self.settings.hostname
        reply = await self.ask(line("EHLO", name), "EHLO")
        self.extensions = Extensions()
        if reply.code in _NO_EHLO:
            reply = await self.ask(line("HELO", name), "HELO")
        elif reply.code // 100 == 2:
            self.extensions = extensions(reply)
        if reply.code // 100 != 2:
            raise Failed.by(reply)

    async def starttls(self, context: ssl.SSLContext) -> None:
        """Goes over to TLS; say `hello` again behind it.

        Raises:
            StartTlsRefused, TlsFailed, Failed.
        """
        reply = await self.ask(line("STARTTLS"), "STARTTLS")
        if reply.code != 220:
            raise StartTlsRefused(0, "4.7.4", f"{self.host} refuses STARTTLS: {reply.code} {words(reply)}")
        await self.secure(context)

    async def secure(self, context: ssl.SSLContext) -> None:
        """The TLS handshake, here behind STARTTLS, or first of all where TLS is implicit."""
        # RFC 3207 §4.2 and §6: what came before TLS is worth nothing. A reply behind the one to STARTTLS was put there
        # by somebody between, to be taken for the answer to the first command under TLS.
        if not self._replies.empty:
            raise self._break("4.5.0", f"{self.host} sent octets behind its answer to STARTTLS")
        try:
            await self._wire.secure(context, self.host.removesuffix("."), self.settings.tls_timeout)
        except PlaintextBehindAnswer:
            raise self._break("4.5.0", f"{self.host} sent octets behind its answer to STARTTLS") from None
        except OSError as error:
            self.broken = True
            raise TlsFailed(f"TLS with {self.host} failed: {_reason(error)}", _failure(error)) from error
        self.extensions = Extensions()
        self.security = VERIFIED if context.verify_mode is ssl.CERT_REQUIRED else UNVERIFIED

    def authenticate(self, records: Sequence[Tlsa], names: Sequence[str]) -> None:
        """Under TLS: the server proves its name by DANE. Raises: TlsFailed."""
        if not authenticated(self._wire.chain(), records, names):
            self.broken = True
            raise TlsFailed(f"The certificate of {self.host} is none that its TLSA records name", Failure.VALIDATION)
        self.security = VERIFIED

    async def auth(self, username: str, password: str) -> None:
        """Logs in, by PLAIN or else LOGIN."""
        if self.security != VERIFIED:
            raise Failed(0, "4.7.0", f"No login to {self.host}: it did not prove its name by TLS")
        offered = self.extensions.mechanisms
        if "PLAIN" in offered:
            reply = await self.ask(line("AUTH PLAIN", plain(username, password)), "AUTH")
        elif "LOGIN" in offered:
            reply = await self.ask(line("AUTH LOGIN"), "AUTH")
            for secret in (username, password):
                if reply.code == 334:
                    reply = await self.ask(line(encoded(secret)), "AUTH")
        else:
            raise Failed(0, "4.7.4", f"{self.host} offers neither AUTH PLAIN nor LOGIN")
        if reply.code != 235:
            # A wrong password in our configuration is no fault of the message: it waits until that is mended.
            raise Failed(454, "4.7.8", f"{self.host} refuses our login: {reply.code} {words(reply)}")

    async def reset(self) -> None:
        """Makes ready for another message after one that was not sent to its end."""
        reply = await self.ask(line("RSET"), "RSET")
        if reply.code // 100 != 2:
            raise Failed.by(reply)

    def prolong(self, deadline: float) -> None:
        """For another message: all waiting ends at this loop time."""
        self._deadline = deadline

    def quit(self) -> None:
        """Says goodbye and returns; the connection ends when the server has answered, or soon without (`FAREWELL`)."""
        if self.broken:
            self._wire.abort()
        else:
            self._wire.write(line("QUIT"))
            self._wire.leave(FAREWELL)

    def abort(self) -> None:
        """Ends the connection with no further octet."""
        self.broken = True
        self._wire.abort()

    # What they are made of

    @property
    def interrupted(self) -> bool:
        """The server speaks, or has closed the connection, while it is our turn."""
        return self._wire.readable or self._wire.is_closing or not self._replies.empty

    async def ask(self, command: bytes, name: str) -> Reply:
        """The reply to one command; `name` stands for it where words are needed, without secrets."""
        await self.send(command, self.settings.command_timeout, name)
        return await self.reply(self.settings.command_timeout, name)

    async def send(self, octets: bytes, timeout: float, name: str) -> None:
        """Returns when the server took enough that more can be sent; a lost connection is noticed by `reply`."""
        self._wire.write(octets)
        try:
            await self._wire.drain(self._left(timeout))
        except TimeoutError:
            raise self._break("4.4.2", f"{self.host} did not take {name} in time") from None
        except ConnectionError:
            pass  # it may have said why

    async def reply(self, timeout: float, name: str) -> Reply:
        """The next reply, of whatever kind but 421, with which a server may end the session at any time."""
        end = self._loop.time() + self._left(timeout)
        try:
            while (reply := self._replies.next()) is None:
                data = await self._wire.receive(max(end - self._loop.time(), 0.0))
                if not data:
                    raise self._break("4.4.2", f"{self.host} closed the connection instead of answering {name}")
                self._replies.feed(data)
        except TimeoutError:
            raise self._break("4.4.2", f"{self.host} did not answer {name} in time") from None
        except ReplyError as error:
            raise self._break("4.5.0", f"{self.host} at {name}: {error}") from None
        if reply.code == 421:
            self.broken = True
            raise Failed.by(reply)
        return reply

    def unexpected(self, reply: Reply, name: str) -> Failed:
        """The error for a reply that has no meaning here: nobody can know what the server thinks."""
        return self._break("4.5.0", f"{self.host} answered {name} by {reply.code} {words(reply)}")

    def _left(self, timeout: float) -> float:
        return max(min(timeout, self._deadline - self._loop.time()), 0.0)

    def _break(self, status: str, text: str) -> Failed:
        self.broken = True
        return Failed(0, status, text)


def _failure(error: OSError) -> Failure:
    """As reports to the domain name it (RFC 8460 §4.3)."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _FAILURES.get(error.verify_code, Failure.NOT_TRUSTED)
    return Failure.VALIDATION


def _reason(error: OSError) -> str:
    """Why TLS failed, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        return error.reason or "protocol error"
    return "timed out" if isinstance(error, TimeoutError) else "connection lost"
