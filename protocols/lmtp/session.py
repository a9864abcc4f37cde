"""One LMTP connection: what LMTP has that other SMTP-like edges have not, and one log line per transaction."""

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import final

from duckmail.errors import DuckmailError, OverQuota
from duckmail.model.envelope import Envelope, Recipient, Verdict
from duckmail.runtime import metrics
from duckmail.runtime.budget import OctetBudget
from duckmail.runtime.log import event
from duckmail.runtime.metrics import CommandMeter
from duckmail.services.delivery import Delivery
from protocols.lmtp.settings import LmtpSettings
from protocols.net.connection import Connection
from protocols.smtp.replies import FAULTS, LOCAL_ERROR, Rows, error_reply
from protocols.smtp.session import HAS_RECIPIENTS, MAX_HELO, OK, READY, RECIPIENTS_MAY_COME, Row, SmtpSession
from protocols.smtp.transaction import Transaction
from protocols.smtp.wire import command
from protocols.smtp.wire.command import Mail
from protocols.smtp.wire.parameters import LMTP_MAIL, LMTP_RCPT
from protocols.smtp.wire.reply import CommandError, Reply, reply

_logger = logging.getLogger("duckmail.lmtp")


@final
class Session(SmtpSession[Recipient]):
    """See `SmtpSession`."""

    def __init__(self, connection: Connection, settings: LmtpSettings, delivery: Delivery, budget: OctetBudget) -> None:
        super().__init__(connection, settings, budget, _logger)
        self._delivery = delivery
        self._trusted = connection.peer in settings.spam_peers
        self._own_rows: Rows = {OverQuota: (settings.over_quota, "5.2.2" if settings.over_quota >= 500 else "4.2.2")}
        self._ident = ""
        self._client: dict[str, str] = {}  # of this transaction
        self._envelope = Envelope("")  # of this transaction: nothing of it changes behind MAIL
        self._override: dict[str, str] = {}  # XCLIENT: of all to come on this connection

    @property
    def _rows(self) -> Mapping[str, Row["Session"]]:
        return _ROWS

    @property
    def _meter(self) -> CommandMeter:
        return _METER

    @property
    def _greeting(self) -> str:
        return "LMTP duckmail"

    def _forget_client(self) -> None:
        super()._forget_client()
        self._ident = ""
        self._client = {}
        self._override = {}

    # Commands

    async def lhlo(self, argument: str) -> Reply:
        # RFC 2033 §4.1: LHLO has the semantics of EHLO: a domain is required, a transaction is dropped.
        if not argument or len(argument) > MAX_HELO:
            raise CommandError(501, "5.5.4", "Syntax: LHLO name")
        await self._forget_transaction()
        self._helo = argument
        offers = [
            self._settings.hostname,
            "PIPELINING",
            f"SIZE {self._settings.size_limit}",
            "8BITMIME",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
            "CHUNKING",
            "BINARYMIME",
            f"XFORWARD {' '.join(command.XFORWARD_ATTRIBUTES)}",
        ]
        if self._trusted:
            offers.insert(-1, f"XCLIENT {' '.join(command.XCLIENT_ATTRIBUTES)}")
        if self._connection.tls_available:
            offers.append("STARTTLS")
        return reply(250, "", *offers)

    async def helo(self, _: str) -> Reply:
        # RFC 2033 §4.1: HELO and EHLO get 500, so that nobody who speaks SMTP misreads the replies after DATA.
        raise CommandError(500, "5.5.1", "This is LMTP: use LHLO")

    async def xforward(self, argument: str) -> Reply:
        given = command.parse_xforward(argument)
        self._ident = given.get("IDENT", self._ident)
        self._client |= given
        return OK

    async def xclient(self, argument: str) -> Reply:
        """As if the client that is named had connected itself: 220, and LHLO comes next."""
        if not self._trusted:
            raise CommandError(550, "5.7.1", "XCLIENT is not for everybody")
        self._override |= command.parse_xclient(argument)
        self._helo, self._ident, self._client = None, "", {}
        return reply(220, "", f"{self._settings.hostname} {self._greeting} ready")

    async def mail(self, argument: str) -> Reply:
        given = command.parse_mail(argument, LMTP_MAIL)
        answer = self._begin(given)
        self._envelope = self._described(given)
        if not answer.positive:
            self._delivery.unread(self._envelope, (), answer.lines[0])
        return answer

    async def rcpt(self, argument: str) -> Reply:
        transaction = self._open_transaction()
        parameters = transaction.mail.parameters
        given = command.parse_rcpt(argument, LMTP_RCPT, parameters.smtputf8)
        if len(transaction.recipients) >= self._settings.max_recipients:
            # RFC 5321 §4.5.3.1.10: 452, and the relay sends the rest in another transaction.
            return reply(452, "4.5.3", "Too many recipients")
        address = self._complete(given.recipient)
        refusal: Reply
        try:
            transaction.recipients.append(await self._delivery.recipient(address, parameters.size, self._envelope))
            return reply(250, "2.1.5", "Recipient OK")
        except DuckmailError as error:
            refusal = error_reply(error, self._own_rows)
            fields = error.fields
        except Exception:
            event(_logger, logging.ERROR, "look-up failed", exc_info=True, connection=self._connection.id)
            refusal, fields = LOCAL_ERROR, {}
        event(
            _logger,
            logging.INFO,
            "recipient refused",
            connection=self._connection.id,
            sender=transaction.mail.sender,
            recipient=address,
            reply=str(refusal),
            **{key: value for key, value in fields.items() if key not in {"connection", "sender", "recipient"}},
        )
        return refusal

    # Messages

    async def _finish(self, transaction: Transaction[Recipient]) -> None:
        """Delivers a complete message, or refuses it; one reply per accepted recipient, in order (RFC 2033 §4.2)."""
        started = time.monotonic()
        metrics.MESSAGES["lmtp"].inc()
        metrics.MESSAGE_BYTES["lmtp"].inc(transaction.collector.size)
        size, fault = transaction.collector.size, transaction.collector.fault
        ids: list[str] = []
        if fault is not None:
            replies: Sequence[Reply] = [FAULTS[fault]] * len(transaction.recipients)
            self._delivery.unread(replace(self._envelope, size=size), transaction.recipients, replies[0].lines[0])
        else:
            verdicts = await self._deliver(transaction)
            replies = [_verdict_reply(verdict, self._own_rows) for verdict in verdicts]
            ids = [verdict.appended.id for verdict in verdicts if verdict.appended]
        for answer in replies:
            self._dialogue.say(answer)
        event(
            _logger,
            logging.INFO,
            "message",
            connection=self._connection.id,
            peer=str(self._connection.peer),
            tls=self._connection.tls,
            sender=transaction.mail.sender,
            recipients=[recipient.address for recipient in transaction.recipients],
            size=size,
            results=dict(Counter(f"{answer.code} {answer.status}" for answer in replies)),
            ids=ids,
            ident=self._ident,
            ms=round((time.monotonic() - started) * 1000, 1),
        )
        await self._forget_transaction()

    async def _deliver(self, transaction: Transaction[Recipient]) -> Sequence[Verdict]:
        try:
            return await self._delivery.deliver(self._envelope, transaction.collector.take(), transaction.recipients)
        except DuckmailError as error:
            event(
                _logger,
                logging.WARNING,
                "delivery failed",
                exc_info=error,
                connection=self._connection.id,
            )
            failure = error
        except Exception:
            event(_logger, logging.ERROR, "delivery failed", exc_info=True, connection=self._connection.id)
            failure = DuckmailError(LOCAL_ERROR.lines[0])
        return [Verdict(recipient, error=failure) for recipient in transaction.recipients]

    def _described(self, mail: Mail) -> Envelope:
        parameters = mail.parameters
        client = self._named()
        return Envelope(
            sender=mail.sender,
            protocol="LMTP",
            host=self._connection.peer.host,
            helo=self._helo or "",
            tls=self._connection.tls,
            size=parameters.size,
            body=parameters.body,
            smtputf8=parameters.smtputf8,
            ident=self._ident,
            connection=self._connection.id,
            trusted=self._trusted,
            client_address=client.get("ADDR", "").upper().removeprefix("IPV6:"),
            client_helo=client.get("HELO", ""),
        )

    def _named(self) -> Mapping[str, str]:
        """Of whom the relay has the message: by XFORWARD, else by XCLIENT, behind which LHLO has the client's name."""
        if "ADDR" in self._client or not self._override:
            return self._client
        return {"HELO": self._helo or ""} | self._override

    async def _forget_transaction(self) -> None:
        if self._transaction is not None:
            self._ident = ""
            self._client = {}
        await super()._forget_transaction()


def _verdict_reply(verdict: Verdict, rows: Rows) -> Reply:
    if verdict.error is not None:
        return error_reply(verdict.error, rows)
    stored = verdict.appended
    return reply(250, "2.0.0", f"OK id={stored.id}" if stored is not None else "OK")


_ROWS: Mapping[str, Row[Session]] = {
    "LHLO": Row(Session.lhlo),
    "HELO": Row(Session.helo),
    "EHLO": Row(Session.helo),
    "STARTTLS": Row(Session.starttls, READY, "STARTTLS comes after LHLO, outside a transaction", argument=False),
    "XFORWARD": Row(Session.xforward, READY, "XFORWARD comes after LHLO, outside a transaction"),
    "XCLIENT": Row(Session.xclient, READY, "XCLIENT comes after LHLO, outside a transaction"),
    "MAIL": Row(Session.mail, READY, "MAIL comes after LHLO, outside a transaction"),
    "RCPT": Row(Session.rcpt, RECIPIENTS_MAY_COME, "RCPT comes after MAIL"),
    "DATA": Row(Session.data, HAS_RECIPIENTS, "DATA needs MAIL and an accepted RCPT", argument=False),
    "BDAT": Row(Session.bdat),
    "RSET": Row(Session.rset, argument=False),
    "NOOP": Row(Session.noop),
    "VRFY": Row(Session.vrfy),
    "QUIT": Row(Session.quit, argument=False),
}

_METER = CommandMeter("lmtp", _ROWS)
