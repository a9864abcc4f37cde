"""One LMTP connection: commands by a table, replies in order, one log line per transaction."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from duckmail.errors import DuckmailError
from duckmail.model.envelope import Envelope, Verdict
from duckmail.runtime.budget import OctetBudget
from duckmail.runtime.log import event
from duckmail.services.delivery import Delivery
from protocols.lmtp.settings import LmtpSettings
from protocols.lmtp.transaction import Transaction
from protocols.net.connection import Connection
from protocols.smtp.dialogue import Dialogue
from protocols.smtp.replies import FAULTS, LOCAL_ERROR, error_reply
from protocols.smtp.wire import command
from protocols.smtp.wire.body import ChunkReader, Collector, DataReader
from protocols.smtp.wire.parameters import BODY_BINARYMIME, LMTP_MAIL, LMTP_RCPT
from protocols.smtp.wire.receive import BodyReader
from protocols.smtp.wire.reply import CommandError, Reply, reply

_logger = logging.getLogger("duckmail.lmtp")

_MAX_HELO = 255
_OK = reply(250, "2.0.0", "OK")


class Phase(Enum):
    """Where in the dialogue a session is; decides which commands are in order."""

    NEW = auto()  # before LHLO
    READY = auto()  # no transaction
    MAIL = auto()  # a sender, no accepted recipient
    RCPT = auto()  # a sender and recipients
    CHUNKS = auto()  # BDAT has begun
    FAILED = auto()  # a BDAT failed: only RSET helps (RFC 3030 §2)


class Session:
    """Serves one connection; `run` returns when the dialogue is over and leaves closing to its caller."""

    def __init__(self, connection: Connection, settings: LmtpSettings, delivery: Delivery, budget: OctetBudget) -> None:
        self._connection = connection
        self._settings = settings
        self._delivery = delivery
        self._budget = budget
        self._dialogue = Dialogue(connection, settings.hostname, settings.write_timeout)
        self._transaction: Transaction | None = None
        self._helo: str | None = None
        self._ident = ""
        self._errors = 0

    async def run(self) -> None:
        """The dialogue from greeting to end."""
        dialogue = self._dialogue
        try:
            dialogue.say(reply(220, "", f"{self._settings.hostname} LMTP duckmail ready"))
            while not dialogue.ended:
                await self._step()
        except TimeoutError:
            dialogue.end(421, "4.4.2", "Timeout, closing connection")
        except OSError as error:
            event(_logger, logging.DEBUG, "connection lost", connection=self._connection.id, reason=str(error))
        except Exception:
            event(_logger, logging.ERROR, "session failed", exc_info=True, connection=self._connection.id)
            dialogue.end(421, "4.3.0", "Local error, closing connection")
        finally:
            dialogue.write_pending()
            await self._forget_transaction()

    async def _step(self) -> None:
        """Carries out one command, or waits for input when there is no complete one."""
        try:
            line = self._dialogue.receiver.line()
            if line is None:
                await self._dialogue.receive(self._settings.command_timeout)
                return
            answer = await self._carry_out(line)
        except CommandError as error:
            answer = error.reply
            self._errors += 1
        if answer is not None:
            self._dialogue.say(answer)
            self._errors = 0 if answer.positive else self._errors
        if self._errors >= self._settings.max_errors:
            self._dialogue.end(421, "4.7.0", "Too many errors, closing connection")
        await self._dialogue.settle()

    # Commands

    @property
    def _phase(self) -> Phase:
        transaction = self._transaction
        if self._helo is None:
            return Phase.NEW
        if transaction is None:
            return Phase.READY
        if transaction.failed:
            return Phase.FAILED
        if transaction.chunked:
            return Phase.CHUNKS
        return Phase.RCPT if transaction.recipients else Phase.MAIL

    async def _carry_out(self, line: bytes) -> Reply | None:
        """The answer to a command, None when it is said already.

        Raises:
            CommandError: the command is wrong or not in order.
        """
        given = command.parse(line)
        row = _COMMANDS.get(given.verb)
        if row is None:
            raise CommandError(500, "5.5.1", "Unknown command")
        if self._phase not in row.phases:
            raise CommandError(503, "5.5.1", row.otherwise)
        if given.argument and not row.argument:
            raise CommandError(501, "5.5.4", f"{given.verb} has no argument")
        return await row.run(self, given.argument)

    async def lhlo(self, argument: str) -> Reply:
        # RFC 2033 §4.1: LHLO has the semantics of EHLO: a domain is required, a transaction is dropped.
        if not argument or len(argument) > _MAX_HELO:
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
        if self._connection.tls_available:
            offers.append("STARTTLS")
        return reply(250, "", *offers)

    async def helo(self, _: str) -> Reply:
        # RFC 2033 §4.1: HELO and EHLO get 500, so that nobody who speaks SMTP misreads the replies after DATA.
        raise CommandError(500, "5.5.1", "This is LMTP: use LHLO")

    async def starttls(self, _: str) -> None:
        if not self._connection.tls_available:
            raise CommandError(502, "5.5.1", "TLS is not available")
        await self._dialogue.flush()
        # RFC 3207 §4.2, H2: what was learned, or came in, before TLS is forgotten.
        self._dialogue.receiver.discard()
        self._helo, self._ident = None, ""
        self._connection.write(reply(220, "2.0.0", "Ready to start TLS").to_bytes())
        await self._connection.start_tls()

    async def xforward(self, argument: str) -> Reply:
        self._ident = command.parse_xforward(argument).get("IDENT", self._ident)
        return _OK

    async def mail(self, argument: str) -> Reply:
        given = command.parse_mail(argument, LMTP_MAIL)
        if given.parameters.size > self._settings.size_limit:
            # RFC 1870 §6.1: the declared size exceeds the fixed limit.
            return reply(552, "5.3.4", f"Messages have at most {self._settings.size_limit} octets")
        self._transaction = Transaction(given, self._settings)
        return reply(250, "2.1.0", "Sender OK")

    async def rcpt(self, argument: str) -> Reply:
        transaction = self._open_transaction()
        parameters = transaction.mail.parameters
        given = command.parse_rcpt(argument, LMTP_RCPT, parameters.smtputf8)
        if len(transaction.recipients) >= self._settings.max_recipients:
            # RFC 5321 §4.5.3.1.10: 452, and the relay sends the rest in another transaction.
            return reply(452, "4.5.3", "Too many recipients")
        address = given.recipient
        if "@" not in address:
            address = self._settings.postmaster or f"{address}@{self._settings.hostname}"
        refusal: Reply
        try:
            transaction.recipients.append(await self._delivery.recipient(address, parameters.size))
            return reply(250, "2.1.5", "Recipient OK")
        except DuckmailError as error:
            refusal = error_reply(error)
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

    async def data(self, _: str) -> None:
        transaction = self._open_transaction()
        if transaction.mail.parameters.body == BODY_BINARYMIME:
            # RFC 3030 §3: BINARYMIME cannot be sent by DATA.
            raise CommandError(503, "5.5.1", "BODY=BINARYMIME needs BDAT")
        self._dialogue.say(reply(354, "", "End data with <CR><LF>.<CR><LF>"))
        await self._collect(DataReader(transaction.collector), transaction)
        await self._finish(transaction)

    async def bdat(self, argument: str) -> Reply | None:
        try:
            chunk = command.parse_bdat(argument)
        except CommandError as error:
            # Where the chunk ends is unknown: its octets must not be read as commands.
            self._dialogue.say(error.reply)
            self._dialogue.ended = True
            return None
        transaction = self._transaction
        if transaction is None or self._phase not in {Phase.RCPT, Phase.CHUNKS}:
            # RFC 3030 §2: the octets are taken and thrown away, then 503.
            await self._collect(ChunkReader(Collector(0), chunk.size), None)
            raise CommandError(503, "5.5.1", "BDAT needs MAIL and an accepted RCPT")
        transaction.chunked = True
        await self._collect(ChunkReader(transaction.collector, chunk.size), transaction)
        if chunk.last:
            await self._finish(transaction)
            return None
        if transaction.collector.hopeless and (fault := transaction.collector.fault):
            transaction.failed = True
            return FAULTS[fault]
        return reply(250, "2.0.0", f"{chunk.size} octets received")

    async def rset(self, _: str) -> Reply:
        await self._forget_transaction()
        return _OK

    async def noop(self, _: str) -> Reply:
        return _OK

    async def vrfy(self, _: str) -> Reply:
        # RFC 5321 §7.3: 252 where addresses are not told.
        return reply(252, "2.5.2", "Send mail to find out")

    async def quit(self, _: str) -> None:
        self._dialogue.end(221, "2.0.0", "Bye")

    # Messages

    def _open_transaction(self) -> Transaction:
        if self._transaction is None:
            raise CommandError(503, "5.5.1", "Need MAIL")
        return self._transaction

    async def _collect(self, reader: BodyReader, transaction: Transaction | None) -> None:
        """Reads message octets to their end.

        Raises:
            TimeoutError, ConnectionError.
        """
        async with asyncio.timeout(self._settings.message_timeout):
            while not self._dialogue.receiver.read_into(reader):
                if transaction is not None:
                    await transaction.make_room(self._budget)
                await self._dialogue.receive(self._settings.data_timeout)

    async def _finish(self, transaction: Transaction) -> None:
        """Delivers a complete message, or refuses it; one reply per accepted recipient, in order (RFC 2033 §4.2)."""
        started = time.monotonic()
        size, fault = transaction.collector.size, transaction.collector.fault
        ids: list[str] = []
        if fault is not None:
            replies: Sequence[Reply] = [FAULTS[fault]] * len(transaction.recipients)
        else:
            verdicts = await self._deliver(transaction)
            replies = [_verdict_reply(verdict) for verdict in verdicts]
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

    async def _deliver(self, transaction: Transaction) -> Sequence[Verdict]:
        parameters = transaction.mail.parameters
        envelope = Envelope(
            sender=transaction.mail.sender,
            protocol="LMTP",
            host=self._connection.peer.host,
            helo=self._helo or "",
            tls=self._connection.tls,
            size=parameters.size,
            body=parameters.body,
            smtputf8=parameters.smtputf8,
            ident=self._ident,
            connection=self._connection.id,
        )
        try:
            return await self._delivery.deliver(envelope, transaction.collector.take(), transaction.recipients)
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

    async def _forget_transaction(self) -> None:
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            self._ident = ""
            await transaction.aclose()


def _verdict_reply(verdict: Verdict) -> Reply:
    if verdict.error is not None:
        return error_reply(verdict.error)
    stored = verdict.appended
    return reply(250, "2.0.0", f"OK id={stored.id}" if stored is not None else "OK")


@dataclass(frozen=True, slots=True)
class _Row:
    """A command: what carries it out, when it is in order, what 503 says otherwise, whether it takes an argument."""

    run: Callable[[Session, str], Awaitable[Reply | None]]
    phases: frozenset[Phase] = frozenset(Phase)
    otherwise: str = ""
    argument: bool = True


_READY = frozenset({Phase.READY})

_COMMANDS: Mapping[str, _Row] = {
    "LHLO": _Row(Session.lhlo),
    "HELO": _Row(Session.helo),
    "EHLO": _Row(Session.helo),
    "STARTTLS": _Row(Session.starttls, _READY, "STARTTLS comes after LHLO, outside a transaction", argument=False),
    "XFORWARD": _Row(Session.xforward, _READY, "XFORWARD comes after LHLO, outside a transaction"),
    "MAIL": _Row(Session.mail, _READY, "MAIL comes after LHLO, outside a transaction"),
    "RCPT": _Row(Session.rcpt, frozenset({Phase.MAIL, Phase.RCPT}), "RCPT comes after MAIL"),
    "DATA": _Row(Session.data, frozenset({Phase.RCPT}), "DATA needs MAIL and an accepted RCPT", argument=False),
    "BDAT": _Row(Session.bdat),
    "RSET": _Row(Session.rset, argument=False),
    "NOOP": _Row(Session.noop),
    "VRFY": _Row(Session.vrfy),
    "QUIT": _Row(Session.quit, argument=False),
}
