"""One SMTP-like connection: commands by a table, message octets, replies in order. LMTP and submission build on it."""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Generic, Self, TypeVar

from duckmail.runtime.budget import OctetBudget
from duckmail.runtime.log import event
from duckmail.runtime.metrics import UNKNOWN, CommandMeter, reply_class
from protocols.net.connection import Connection
from protocols.smtp.dialogue import Dialogue
from protocols.smtp.replies import FAULTS
from protocols.smtp.settings import SmtpSettings
from protocols.smtp.transaction import Transaction
from protocols.smtp.wire import command
from protocols.smtp.wire.body import ChunkReader, Collector, DataReader
from protocols.smtp.wire.parameters import BODY_BINARYMIME
from protocols.smtp.wire.receive import MAX_COMMAND_LINE, BodyReader
from protocols.smtp.wire.reply import CommandError, Reply, reply

MAX_HELO = 255
OK = reply(250, "2.0.0", "OK")

R = TypeVar("R")
S = TypeVar("S")


class Phase(Enum):
    """Where in the dialogue a session is; decides which commands are in order."""

    NEW = auto()  # before LHLO or EHLO
    READY = auto()  # no transaction
    MAIL = auto()  # a sender, no accepted recipient
    RCPT = auto()  # a sender and recipients
    CHUNKS = auto()  # BDAT has begun
    FAILED = auto()  # a BDAT failed: only RSET helps (RFC 3030 §2)


READY = frozenset({Phase.READY})
RECIPIENTS_MAY_COME = frozenset({Phase.MAIL, Phase.RCPT})
HAS_RECIPIENTS = frozenset({Phase.RCPT})


@dataclass(frozen=True, slots=True)
class Row(Generic[S]):
    """A command: what carries it out, when it is in order, what 503 says otherwise, whether it takes an argument."""

    run: Callable[[S, str], Awaitable[Reply | None]]
    phases: frozenset[Phase] = frozenset(Phase)
    otherwise: str = ""
    argument: bool = True


class SmtpSession(ABC, Generic[R]):
    """Serves one connection; `run` returns when the dialogue is over and leaves closing to its caller.

    `R`: what a transaction keeps of an accepted recipient. `line_limit`: octets of a line, its CRLF counted.
    """

    def __init__(
        self,
        connection: Connection,
        settings: SmtpSettings,
        budget: OctetBudget,
        logger: logging.Logger,
        line_limit: int = MAX_COMMAND_LINE,
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._budget = budget
        self._logger = logger
        self._dialogue = Dialogue(connection, settings.hostname, settings.write_timeout, line_limit)
        self._transaction: Transaction[R] | None = None
        self._helo: str | None = None
        self._verb = UNKNOWN  # of the command in progress
        self._errors = 0

    # What an edge adds

    @property
    @abstractmethod
    def _rows(self) -> Mapping[str, Row[Self]]:
        """The commands by verb."""

    @property
    @abstractmethod
    def _meter(self) -> CommandMeter:
        """Counts them."""

    @property
    @abstractmethod
    def _greeting(self) -> str:
        """The protocol and the program, behind the host name of the greeting."""

    @abstractmethod
    async def _finish(self, transaction: Transaction[R]) -> None:
        """Delivers a complete message, or refuses it: says the replies, forgets the transaction."""

    def _admit(self, verb: str) -> None:
        """Whether the client may give this command at all. Raises: CommandError."""

    def _patience(self) -> float:
        """Seconds that the next command may take to come."""
        return self._settings.command_timeout

    def _forget_client(self) -> None:
        """Forgets what the client has said about itself (RFC 3207 §4.2); also at the end."""
        self._helo = None

    # The dialogue

    async def run(self) -> None:
        """The dialogue from greeting to end."""
        dialogue = self._dialogue
        try:
            await self._welcome()
            while not dialogue.ended:
                await self._step()
        except TimeoutError:
            dialogue.end(421, "4.4.2", "Timeout, closing connection")
        except OSError as error:
            event(self._logger, logging.DEBUG, "connection lost", connection=self._connection.id, reason=str(error))
        except Exception:
            event(self._logger, logging.ERROR, "session failed", exc_info=True, connection=self._connection.id)
            dialogue.end(421, "4.3.0", "Local error, closing connection")
        finally:
            dialogue.write_pending()
            self._forget_client()
            await self._forget_transaction()

    async def _welcome(self) -> None:
        """Says the greeting."""
        self._dialogue.say(reply(220, "", f"{self._settings.hostname} {self._greeting} ready"))

    async def _step(self) -> None:
        """Carries out one command, or waits for input when there is no complete one."""
        started, self._verb = time.monotonic(), UNKNOWN
        try:
            line = self._dialogue.receiver.line()
            if line is None:
                await self._dialogue.receive(self._patience())
                return
            answer = await self._carry_out(line)
        except CommandError as error:
            answer = error.reply
            self._errors += 1
        if answer is not None:
            self._dialogue.say(answer)
            self._errors = 0 if answer.positive else self._errors
        self._meter.done(self._verb, reply_class(self._dialogue.said), time.monotonic() - started)
        if self._errors >= self._settings.max_errors and not self._dialogue.ended:
            self._dialogue.end(421, "4.7.0", "Too many errors, closing connection")
        await self._dialogue.settle()

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
        row = self._rows.get(given.verb)
        if row is None:
            raise CommandError(500, "5.5.1", "Unknown command")
        self._verb = given.verb
        self._admit(given.verb)
        if self._phase not in row.phases:
            raise CommandError(503, "5.5.1", row.otherwise)
        if given.argument and not row.argument:
            raise CommandError(501, "5.5.4", f"{given.verb} has no argument")
        return await row.run(self, given.argument)

    async def _line(self) -> bytes:
        """The next line as it is, for an exchange within a command.

        Raises:
            CommandError: too long, or with a bare CR or LF.
            TimeoutError, ConnectionError.
        """
        while (line := self._dialogue.receiver.line()) is None:
            await self._dialogue.receive(self._patience())
        return line

    # Commands that are the same everywhere

    async def starttls(self, _: str) -> None:
        if not self._connection.tls_available:
            raise CommandError(502, "5.5.1", "TLS is not available")
        await self._dialogue.flush()
        # RFC 3207 §4.2, H2: what was learned, or came in, before TLS is forgotten.
        self._dialogue.receiver.discard()
        self._forget_client()
        self._connection.write(reply(220, "2.0.0", "Ready to start TLS").to_bytes())
        await self._connection.start_tls()

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
        return OK

    async def noop(self, _: str) -> Reply:
        return OK

    async def vrfy(self, _: str) -> Reply:
        # RFC 5321 §7.3: 252 where addresses are not told.
        return reply(252, "2.5.2", "Send mail to find out")

    async def quit(self, _: str) -> None:
        self._dialogue.end(221, "2.0.0", "Bye")

    # Transactions

    def _begin(self, mail: command.Mail) -> Reply:
        """Opens a transaction, unless the message is declared too large."""
        if mail.parameters.size > self._settings.size_limit:
            # RFC 1870 §6.1: the declared size exceeds the fixed limit.
            return reply(552, "5.3.4", f"Messages have at most {self._settings.size_limit} octets")
        self._transaction = Transaction(mail, self._settings)
        return reply(250, "2.1.0", "Sender OK")

    def _open_transaction(self) -> Transaction[R]:
        if self._transaction is None:
            raise CommandError(503, "5.5.1", "Need MAIL")
        return self._transaction

    def _complete(self, address: str) -> str:
        """RFC 5321 §4.5.1: `<postmaster>` without domain is the server's own."""
        return address if "@" in address else self._settings.postmaster or f"{address}@{self._settings.hostname}"

    async def _collect(self, reader: BodyReader, transaction: Transaction[R] | None) -> None:
        """Reads message octets to their end.

        Raises:
            TimeoutError, ConnectionError.
        """
        deadline = time.monotonic() + self._settings.message_timeout
        while not self._dialogue.receiver.read_into(reader):
            if transaction is not None:
                await transaction.make_room(self._budget)
            if (rest := deadline - time.monotonic()) <= 0:
                raise TimeoutError
            await self._dialogue.receive(min(rest, self._settings.data_timeout))

    async def _forget_transaction(self) -> None:
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            await transaction.aclose()
