"""One MX connection: greeting, EHLO, who is written to, one reply and one log line per message."""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import final

from duckmail.errors import DuckmailError
from duckmail.model.envelope import Envelope
from duckmail.model.queue import OutboundEnvelope
from duckmail.runtime import metrics
from duckmail.runtime.budget import OctetBudget
from duckmail.runtime.log import event
from duckmail.runtime.metrics import CommandMeter
from duckmail.services.reception.caller import Caller
from duckmail.services.reception.errors import REASONS
from duckmail.services.reception.reception import Named, Reception
from protocols.mx.replies import ROWS
from protocols.mx.settings import MxSettings
from protocols.net.connection import Connection
from protocols.smtp.notify import notify_of
from protocols.smtp.replies import FAULTS, LOCAL_ERROR, error_reply
from protocols.smtp.session import HAS_RECIPIENTS, MAX_HELO, READY, RECIPIENTS_MAY_COME, Row, SmtpSession
from protocols.smtp.transaction import Transaction
from protocols.smtp.wire import command
from protocols.smtp.wire.parameters import MX_MAIL, MX_MAIL_TLS, MX_RCPT
from protocols.smtp.wire.reply import CommandError, Reply, reply

_logger = logging.getLogger("duckmail.mx")


@final
class Session(SmtpSession[Named]):
    """See `SmtpSession`."""

    def __init__(self, connection: Connection, settings: MxSettings, reception: Reception, budget: OctetBudget) -> None:
        super().__init__(connection, settings, budget, _logger)
        self._mx = settings
        self._reception = reception
        self._extended = False
        peer = connection.peer
        self._caller = Caller(
            "" if peer.unix else peer.host, peer.network, peer.wide_network, peer in settings.exempt, connection.id
        )

    @property
    def _rows(self) -> Mapping[str, Row["Session"]]:
        return _ROWS

    @property
    def _meter(self) -> CommandMeter:
        return _METER

    @property
    def _greeting(self) -> str:
        return "ESMTP duckmail"

    def _forget_client(self) -> None:
        super()._forget_client()
        self._extended = False

    # Commands

    async def _welcome(self) -> None:
        if self._mx.greet_delay and not self._caller.exempt:
            dialogue = self._dialogue
            # RFC 5321 §4.2.1, §4.3.1: a greeting may have several lines, and a client waits for the last one.
            dialogue.announce(220, f"{self._settings.hostname} One moment")
            try:
                await dialogue.receive(self._mx.greet_delay)
            except TimeoutError:
                pass
            else:
                dialogue.receiver.discard()
                metrics.MX_REFUSED["early"].inc()
                event(_logger, logging.INFO, "talked too early", connection=self._connection.id)
                dialogue.end(554, "5.5.1", "You talked before the greeting had ended")
                return
        await super()._welcome()

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
            "BINARYMIME",
            "DSN",
            # RFC 9422 §4: so that a client need not find out by 452.
            f"LIMITS RCPTMAX={self._settings.max_recipients}",
        ]
        if self._connection.tls_available:
            offers.append("STARTTLS")
        if self._connection.tls:
            # RFC 8689 §2: whose mail goes on from here, goes on so.
            offers.append("REQUIRETLS")
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
        try:
            await self._reception.name(self._caller, argument)
        except Exception as error:
            raise self._refusal(error, "name refused", helo=argument) from None
        self._helo, self._extended = argument, extended

    async def mail(self, argument: str) -> Reply:
        given = command.parse_mail(argument, MX_MAIL_TLS if self._connection.tls else MX_MAIL)
        try:
            await self._reception.message(self._caller, given.sender)
        except Exception as error:
            raise self._refusal(error, "sender refused", sender=given.sender) from None
        answer = self._begin(given)
        if not answer.positive:
            self._reception.unread(self._caller, given.sender, (), answer.lines[0], given.parameters.size)
        return answer

    async def rcpt(self, argument: str) -> Reply:
        transaction = self._open_transaction()
        mail = transaction.mail
        given = command.parse_rcpt(argument, MX_RCPT, mail.parameters.smtputf8)
        if len(transaction.recipients) >= self._settings.max_recipients:
            # RFC 5321 §4.5.3.1.10: 452, and the client sends the rest in another transaction.
            return reply(452, "4.5.3", "Too many recipients")
        address = self._complete(given.recipient)
        try:
            found = await self._reception.recipient(
                self._caller, mail.sender, address, mail.parameters.size, notify_of(given.parameters)
            )
        except Exception as error:
            refusal = self._refusal(error, "recipient refused", sender=mail.sender, recipient=address)
            if refusal.reply.code < 500:
                return refusal.reply
            # As an error it counts towards the end of the connection: nobody looks here for addresses by trying them.
            raise refusal from None
        if all(each.recipient.address != address for each in transaction.recipients):
            transaction.recipients.append(Named(found, given.parameters.orcpt))
        return reply(250, "2.1.5", "Recipient OK")

    # Messages

    async def _finish(self, transaction: Transaction[Named]) -> None:
        """Delivers a complete message, or refuses it; one reply for all recipients."""
        started = time.monotonic()
        metrics.MESSAGES["mx"].inc()
        metrics.MESSAGE_BYTES["mx"].inc(transaction.collector.size)
        size, fault = transaction.collector.size, transaction.collector.fault
        ids: Sequence[str] = []
        if fault is not None:
            answer = FAULTS[fault]
            named = [each.recipient for each in transaction.recipients]
            self._reception.unread(self._caller, transaction.mail.sender, named, answer.lines[0], size)
        else:
            try:
                ids = await self._deliver(transaction)
                answer = reply(250, "2.0.0", f"OK id={ids[0]}" if ids else "OK")
            except Exception as error:
                answer = self._refusal(error, "message refused", sender=transaction.mail.sender).reply
        self._dialogue.say(answer)
        event(
            _logger,
            logging.INFO,
            "message",
            connection=self._connection.id,
            peer=str(self._connection.peer),
            helo=self._helo,
            tls=self._connection.tls,
            sender=transaction.mail.sender,
            recipients=[each.recipient.address for each in transaction.recipients],
            size=size,
            result=f"{answer.code} {answer.status}",
            ids=ids,
            ms=round((time.monotonic() - started) * 1000, 1),
        )
        await self._forget_transaction()

    async def _deliver(self, transaction: Transaction[Named]) -> Sequence[str]:
        mail = transaction.mail
        parameters = mail.parameters
        envelope = Envelope(
            sender=mail.sender,
            protocol=self._protocol(parameters.smtputf8),
            host=self._caller.address,
            helo=self._helo or "",
            tls=self._connection.tls,
            size=parameters.size,
            body=parameters.body,
            smtputf8=parameters.smtputf8,
            requiretls=parameters.requiretls,
            connection=self._connection.id,
            direct=True,
        )
        back = OutboundEnvelope(
            mail.sender,
            parameters.body,
            parameters.smtputf8,
            requiretls=parameters.requiretls,
            ret=parameters.ret,
            envid=parameters.envid,
        )
        raw = transaction.collector.take()
        return await self._reception.deliver(self._caller, envelope, back, transaction.recipients, raw)

    def _protocol(self, smtputf8: bool) -> str:
        """RFC 3848, RFC 6531 §4.3: how Received calls the session."""
        if not self._extended:
            return "SMTP"
        return f"{'UTF8SMTP' if smtputf8 else 'ESMTP'}{'S' if self._connection.tls else ''}"

    def _refusal(self, error: Exception, message: str, **fields: object) -> CommandError:
        """The reply to a failure, behind a line in the log."""
        found = {"connection": self._connection.id, "peer": self._caller.address, **fields}
        if isinstance(error, DuckmailError):
            answer, reason = error_reply(error, ROWS), REASONS.get(type(error), "")
            if reason:
                metrics.MX_REFUSED[reason].inc()
            level = logging.WARNING if error.temporary and not reason else logging.INFO
            event(_logger, level, message, reply=str(answer), reason=reason, **{**error.fields, **found})
        else:
            answer = LOCAL_ERROR
            event(_logger, logging.ERROR, message, exc_info=error, **found)
        return CommandError(answer.code, answer.status, answer.lines[0])


_ROWS: Mapping[str, Row[Session]] = {
    "EHLO": Row(Session.ehlo),
    "HELO": Row(Session.helo),
    "LHLO": Row(Session.lhlo),
    "STARTTLS": Row(Session.starttls, READY, "STARTTLS comes after EHLO, outside a transaction", argument=False),
    "MAIL": Row(Session.mail, READY, "MAIL comes after EHLO, outside a transaction"),
    "RCPT": Row(Session.rcpt, RECIPIENTS_MAY_COME, "RCPT comes after MAIL"),
    "DATA": Row(Session.data, HAS_RECIPIENTS, "DATA needs MAIL and an accepted RCPT", argument=False),
    "BDAT": Row(Session.bdat),
    "RSET": Row(Session.rset, argument=False),
    "NOOP": Row(Session.noop),
    "VRFY": Row(Session.vrfy),
    "QUIT": Row(Session.quit, argument=False),
}

_METER = CommandMeter("mx", _ROWS)
