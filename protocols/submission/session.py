"""One submission connection: EHLO, AUTH, who sends to whom, and one log line per message."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import final

from duckmail.errors import DuckmailError
from duckmail.model.account import Principal
from duckmail.model.queue import OutboundEnvelope, QueueRecipient
from duckmail.runtime import metrics
from duckmail.runtime.budget import OctetBudget
from duckmail.runtime.log import event
from duckmail.runtime.metrics import CommandMeter
from duckmail.services.auth import Auth
from duckmail.services.sessions import Sessions
from duckmail.services.submission import SCOPE, Arrival, Sender, Submission
from protocols.net.connection import Connection
from protocols.sasl.exchange import Attempt
from protocols.smtp.notify import notify_of
from protocols.smtp.replies import FAULTS, LOCAL_ERROR, Rows, error_reply
from protocols.smtp.session import HAS_RECIPIENTS, MAX_HELO, READY, RECIPIENTS_MAY_COME, Row, SmtpSession
from protocols.smtp.transaction import Transaction
from protocols.smtp.wire import command
from protocols.smtp.wire.parameters import (
    BODY_BINARYMIME,
    SUBMISSION_MAIL,
    SUBMISSION_MAIL_TLS,
    SUBMISSION_RCPT,
)
from protocols.smtp.wire.reply import CommandError, Reply, reply
from protocols.submission import replies
from protocols.submission.exchange import MAX_LINE, exchange, refusal
from protocols.submission.settings import SubmissionSettings

_logger = logging.getLogger("duckmail.submission")

# RFC 4954 §6: what may be said without a login.
_WITHOUT_LOGIN = frozenset({"EHLO", "HELO", "LHLO", "STARTTLS", "AUTH", "NOOP", "RSET", "QUIT"})


@dataclass(frozen=True, slots=True)
class SubmissionServices:
    """What the sessions of a server share. `user_slot`: a place for a session of a user id; LimitReached."""

    auth: Auth
    sessions: Sessions
    submission: Submission
    user_slot: Callable[[str], Awaitable[ExitStack]]
    budget: OctetBudget


@final
class Session(SmtpSession[QueueRecipient]):
    """See `SmtpSession`."""

    def __init__(self, connection: Connection, settings: SubmissionSettings, services: SubmissionServices) -> None:
        super().__init__(connection, settings, services.budget, _logger, MAX_LINE)
        self._plaintext_login = settings.plaintext_login
        self._limits = settings
        self._login_until = time.monotonic() + settings.login_timeout
        self._services = services
        self._principal: Principal | None = None
        self._sender: Sender | None = None
        self._extended = False
        self._slot = ExitStack()

    @property
    def _rows(self) -> Mapping[str, Row["Session"]]:
        return _ROWS

    @property
    def _meter(self) -> CommandMeter:
        return _METER

    @property
    def _greeting(self) -> str:
        return "ESMTP duckmail"

    def _admit(self, verb: str) -> None:
        if self._principal is not None or verb in _WITHOUT_LOGIN:
            return
        if verb == "BDAT":
            # The octets of its chunk must not be read as commands, and are not taken from just anybody either.
            self._dialogue.ended = True
        if self._login_allowed:
            raise CommandError(530, "5.7.0", "Authentication required")
        raise CommandError(530, "5.7.0", "Must issue a STARTTLS command first")  # RFC 3207 §4

    def _patience(self) -> float:
        if self._principal is not None:
            return self._settings.command_timeout
        left = self._login_until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return min(left, self._settings.command_timeout)

    def _forget_client(self) -> None:
        super()._forget_client()
        self._principal, self._extended = None, False
        self._slot.close()

    @property
    def _login_allowed(self) -> bool:
        """Passwords may be sent now: inside TLS, or where the configuration trusts the network."""
        return self._connection.tls or self._plaintext_login

    # Commands

    async def ehlo(self, argument: str) -> Reply:
        await self._greet(argument, "EHLO", extended=True)
        offers = [
            self._settings.hostname,
            "PIPELINING",
            f"SIZE {self._settings.size_limit}",
            "8BITMIME",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
            "CHUNKING",
            "DSN",
        ]
        if self._connection.tls:
            offers.append("REQUIRETLS")  # RFC 8689 §2: under TLS alone
        if self._connection.tls_available:
            offers.append("STARTTLS")
        if self._login_allowed and self._principal is None:
            offers.append(f"AUTH {' '.join(self._limits.sasl.names(self._connection.end_point))}")
        return reply(250, "", *offers)

    async def helo(self, argument: str) -> Reply:
        await self._greet(argument, "HELO", extended=False)
        return reply(250, "", self._settings.hostname)

    async def lhlo(self, _: str) -> Reply:
        raise CommandError(500, "5.5.1", "This is SMTP: use EHLO")

    async def _greet(self, argument: str, verb: str, *, extended: bool) -> None:
        if not argument or len(argument) > MAX_HELO:
            raise CommandError(501, "5.5.4", f"Syntax: {verb} name")
        # RFC 5321 §4.1.4: EHLO in the middle of a session ends a transaction, as RSET does.
        await self._forget_transaction()
        self._helo, self._extended = argument, extended

    async def auth(self, argument: str) -> Reply:
        if self._principal is not None:
            # RFC 4954 §4: no second AUTH after one that succeeded.
            raise CommandError(503, "5.5.1", "Already authenticated")
        if not self._extended:
            raise CommandError(503, "5.5.1", "AUTH comes after EHLO")
        if not self._login_allowed:
            raise CommandError(538, "5.7.11", "Must issue a STARTTLS command first")
        if not argument:
            raise CommandError(501, "5.5.4", "Syntax: AUTH mechanism")
        attempt = Attempt(self._services.auth, SCOPE, "submission", self._connection)
        principal = await exchange(argument, self._limits.sasl, attempt, self._ask)
        try:
            self._slot.enter_context(await self._services.user_slot(principal.user))
            self._slot.enter_context(self._services.sessions.joined(principal, self._dialogue.end_session))
        except DuckmailError as error:
            raise refusal(error) from None
        self._principal = principal
        return reply(235, "2.7.0", "Authentication successful")

    async def _ask(self, challenge: str) -> bytes:
        self._dialogue.say(reply(334, "", challenge))
        return await self._line()

    async def mail(self, argument: str) -> Reply:
        given = command.parse_mail(argument, SUBMISSION_MAIL_TLS if self._connection.tls else SUBMISSION_MAIL)
        if given.parameters.body == BODY_BINARYMIME:
            # RFC 3030 §3: not announced, since few servers could be given such a message.
            raise CommandError(504, "5.5.4", "BODY=BINARYMIME is not offered")
        if self._principal is None:
            raise AssertionError("MAIL ran without a login")
        try:
            self._sender = await self._services.submission.sender(
                self._principal, given.sender, self._arrival(given.parameters.smtputf8)
            )
        except Exception as error:
            return self._refusal(error, replies.MAIL, "sender refused", sender=given.sender)
        answer = self._begin(given)
        if not answer.positive:
            self._services.submission.unread(self._sender, (), answer.lines[0], given.parameters.size)
        return answer

    async def rcpt(self, argument: str) -> Reply:
        transaction, sender = self._open_transaction(), self._sending
        parameters = transaction.mail.parameters
        given = command.parse_rcpt(argument, SUBMISSION_RCPT, parameters.smtputf8)
        named = transaction.recipients
        if len(named) >= self._limits.recipients:
            # RFC 5321 §4.5.3.1.10: 452, and the client sends the rest in another transaction.
            return reply(452, "4.5.3", "Too many recipients")
        address = self._complete(given.recipient)
        try:
            await self._services.submission.recipient(sender, address, parameters.size, len(named))
        except Exception as error:
            return self._refusal(error, replies.RCPT, "recipient refused", sender=sender.address, recipient=address)
        if all(recipient.address != address for recipient in named):  # who is named twice gets it once
            orcpt = given.parameters.orcpt
            named.append(QueueRecipient(address, notify=notify_of(given.parameters), orcpt=orcpt))
        return reply(250, "2.1.5", "Recipient OK")

    # Messages

    @property
    def _sending(self) -> Sender:
        if self._sender is None:
            raise AssertionError("a transaction without a sender")
        return self._sender

    async def _finish(self, transaction: Transaction[QueueRecipient]) -> None:
        """Queues a complete message, or refuses it; one reply for all recipients."""
        started = time.monotonic()
        metrics.MESSAGES["submission"].inc()
        metrics.MESSAGE_BYTES["submission"].inc(transaction.collector.size)
        sender, collector = self._sending, transaction.collector
        size, fault = collector.size, collector.fault
        queued = ""
        if fault is not None:
            answer = FAULTS[fault]
            self._services.submission.unread(sender, transaction.recipients, answer.lines[0], size)
        else:
            try:
                queued = await self._submit(transaction, sender)
                answer = reply(250, "2.0.0", f"OK queued as {queued}")
            except Exception as error:
                answer = self._refusal(error, replies.MESSAGE, "message refused", sender=sender.address)
        self._dialogue.say(answer)
        event(
            _logger,
            logging.INFO,
            "message",
            connection=self._connection.id,
            peer=str(self._connection.peer),
            tls=self._connection.tls,
            user=sender.user.id,
            sender=sender.address,
            recipients=[recipient.address for recipient in transaction.recipients],
            size=size,
            result=f"{answer.code} {answer.status}",
            id=queued,
            ms=round((time.monotonic() - started) * 1000, 1),
        )
        await self._forget_transaction()

    async def _submit(self, transaction: Transaction[QueueRecipient], sender: Sender) -> str:
        parameters = transaction.mail.parameters
        envelope = OutboundEnvelope(
            sender=sender.address,
            smtputf8=parameters.smtputf8,
            requiretls=parameters.requiretls,
            ret=parameters.ret,
            envid=parameters.envid,
        )
        raw = transaction.collector.take()
        return await self._services.submission.submit(sender, envelope, transaction.recipients, raw)

    def _arrival(self, smtputf8: bool) -> Arrival:
        return Arrival(
            self._protocol(smtputf8),
            "" if self._connection.peer.unix else self._connection.peer.host,
            self._helo or "",
            self._connection.id,
        )

    def _protocol(self, smtputf8: bool) -> str:
        """RFC 3848, RFC 6531 §4.3: how Received calls a session with a login, which EHLO began."""
        return f"{'UTF8SMTP' if smtputf8 else 'ESMTP'}{'S' if self._connection.tls else ''}A"

    def _refusal(self, error: Exception, rows: Rows, message: str, **fields: object) -> Reply:
        """The reply to a failure, behind a line in the log."""
        found = {"connection": self._connection.id, **fields}
        if not isinstance(error, DuckmailError):
            event(_logger, logging.ERROR, message, exc_info=error, **found)
            return LOCAL_ERROR
        answer = error_reply(error, rows)
        level = logging.WARNING if error.temporary else logging.INFO
        event(_logger, level, message, reply=str(answer), **{**error.fields, **found})
        return answer

    async def _forget_transaction(self) -> None:
        self._sender = None
        await super()._forget_transaction()


_ROWS: Mapping[str, Row[Session]] = {
    "EHLO": Row(Session.ehlo),
    "HELO": Row(Session.helo),
    "LHLO": Row(Session.lhlo),
    "STARTTLS": Row(Session.starttls, READY, "STARTTLS comes after EHLO, outside a transaction", argument=False),
    "AUTH": Row(Session.auth, READY, "AUTH comes after EHLO, outside a transaction"),
    "MAIL": Row(Session.mail, READY, "MAIL comes after EHLO, outside a transaction"),
    "RCPT": Row(Session.rcpt, RECIPIENTS_MAY_COME, "RCPT comes after MAIL"),
    "DATA": Row(Session.data, HAS_RECIPIENTS, "DATA needs MAIL and an accepted RCPT", argument=False),
    "BDAT": Row(Session.bdat),
    "RSET": Row(Session.rset, argument=False),
    "NOOP": Row(Session.noop),
    "VRFY": Row(Session.vrfy),
    "QUIT": Row(Session.quit, argument=False),
}

_METER = CommandMeter("submission", _ROWS)
