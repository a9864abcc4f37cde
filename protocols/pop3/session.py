"""One POP3 session: its state, and the loop that carries commands out one after another, one log line each.

A command that fails in a way nobody expected is answered -ERR, logged with its stack, and the session goes on (H1). A
response that fails half-way can only be ended by cutting the connection: nobody must take half a message for a whole.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from enum import Enum, auto
from time import monotonic

from duckmail.errors import CommitUnknown, DuckmailError, Unavailable
from duckmail.model.account import Principal
from duckmail.runtime.log import event
from duckmail.runtime.metrics import UNKNOWN, CommandMeter
from duckmail.services.auth import Auth
from duckmail.services.maildrop import Maildrop, Maildrops
from duckmail.services.sessions import Sessions
from protocols.net.connection import Connection
from protocols.pop3.dialogue import Dialogue, Disconnected
from protocols.pop3.reply import INTERNAL, Body, Reply, err, failure
from protocols.pop3.settings import Pop3Settings
from protocols.pop3.wire import command
from protocols.pop3.wire.command import BadCommand
from protocols.pop3.wire.lines import MAX_LINE
from protocols.pop3.wire.response import Stuffing, status

log = logging.getLogger("duckmail.pop3")


class State(Enum):
    """RFC 1939 §3. The UPDATE state is what happens inside QUIT."""

    AUTHORIZATION = auto()
    TRANSACTION = auto()


class Argument(Enum):
    """What a command takes behind its keyword. VERBATIM: blanks at its ends belong to it."""

    NONE = auto()
    OPTIONAL = auto()
    REQUIRED = auto()
    VERBATIM = auto()


@dataclass(frozen=True, slots=True)
class Pop3Services:
    """What the sessions of a server share. `user_slot`: a place for a session of a user id; LimitReached."""

    auth: Auth
    sessions: Sessions
    maildrops: Maildrops
    user_slot: Callable[[str], Awaitable[ExitStack]]


class Session:
    """`user`: what USER named, until another command than PASS comes. `ended`: the command in progress is the last."""

    def __init__(
        self,
        connection: Connection,
        services: Pop3Services,
        settings: Pop3Settings,
        commands: "Mapping[str, Command]",
        meter: CommandMeter,
    ) -> None:
        self.connection = connection
        self.services = services
        self.settings = settings
        self.dialogue = Dialogue(connection, settings.write_timeout)
        self.principal: Principal | None = None
        self.user = ""
        self.ended = False
        self._commands = commands
        self._meter = meter
        self._maildrop: Maildrop | None = None
        self._slot = ExitStack()
        self._login_deadline = monotonic() + settings.login_timeout
        self._errors = 0

    # What commands see and change

    @property
    def state(self) -> State:
        return State.AUTHORIZATION if self._maildrop is None else State.TRANSACTION

    @property
    def maildrop(self) -> Maildrop:
        """Only in commands of the TRANSACTION state."""
        if self._maildrop is None:
            raise AssertionError("a command of the TRANSACTION state ran without a maildrop")
        return self._maildrop

    @property
    def login_allowed(self) -> bool:
        """Passwords may be sent now: inside TLS, or where the configuration trusts the network."""
        return self.connection.tls or self.settings.plaintext_login

    @property
    def stls_allowed(self) -> bool:
        return self.settings.starttls and self.connection.tls_available and not self.connection.tls

    async def log_in(self, principal: Principal) -> Maildrop:
        """Takes a place among the user's sessions, and the maildrop; neither when it fails.

        Raises: LimitReached, and what `Maildrops.open` raises.
        """
        with ExitStack() as slot:
            slot.enter_context(await self.services.user_slot(principal.user))
            slot.enter_context(self.services.sessions.joined(principal, self.dialogue.end))
            self._maildrop = await self.services.maildrops.open(principal)
            self._slot = slot.pop_all()
        self.principal = principal
        return self._maildrop

    async def release(self) -> None:
        """Gives the maildrop and the place back; may be called again."""
        maildrop, self._maildrop = self._maildrop, None
        try:
            if maildrop is not None:
                await maildrop.close()
        finally:
            self._slot.close()

    async def line(self, limit: int) -> bytes:
        """The next line from the client; see `Dialogue.line`."""
        if self._maildrop is None:
            return await self.dialogue.line(self._login_deadline, limit)
        return await self.dialogue.line(monotonic() + self.settings.idle_timeout, limit)

    # The loop

    async def run(self) -> None:
        """From the greeting to the end of the connection; never raises for what a client does."""
        try:
            # RFC 1939 §7: no timestamp, so no APOP.
            self.dialogue.write(status(True, f"{self.settings.name} ready"))
            while not self.ended:
                await self._step()
            await self.dialogue.flush()
        except TimeoutError:
            # RFC 1939 §3: when the timer expires the connection is closed without a response; nothing is changed.
            event(log, logging.DEBUG, "autologout", connection=self.connection.id)
        except (Disconnected, ConnectionError):
            pass
        finally:
            self.connection.on_drain = None
            try:
                await self.release()
            finally:
                self.connection.close()

    async def _step(self) -> None:
        """One command, from its line to its answer."""
        given = await self._next()
        started, octets = monotonic(), self.dialogue.octets
        reply = given if isinstance(given, Reply) else await self._carry_out(given)
        if isinstance(given, Reply) or given.keyword != "USER":
            self.user = ""
        if reply is not None:
            await self._answer(reply)
        name = given.keyword if not isinstance(given, Reply) and given.keyword in self._commands else UNKNOWN
        result, seconds = "OK" if reply is None or reply.positive else "ERR", monotonic() - started
        self._meter.done(name, result, seconds)
        event(
            log,
            logging.INFO,
            "command",
            connection=self.connection.id,
            user=self.principal.username if self.principal else "",
            command=name,
            ms=round(seconds * 1000, 1),
            result=result,
            octets=self.dialogue.octets - octets,
        )

    async def _next(self) -> command.Command | Reply:
        """The client's next command, or the answer to what is none."""
        try:
            return command.parse(await self.line(MAX_LINE))
        except BadCommand as error:
            return err(str(error))

    async def _carry_out(self, given: command.Command) -> Reply | None:
        """The answer, None when it was said already."""
        found = self._commands.get(given.keyword)
        if found is None:
            return err("Unknown command")
        if self.state not in found.states:
            return err(f"{given.keyword} is not allowed now")
        argument = given.argument if found.argument is Argument.VERBATIM else given.argument.strip(" ")
        if argument and found.argument is Argument.NONE:
            return err(f"{given.keyword} has no argument")
        if not argument and found.argument in (Argument.REQUIRED, Argument.VERBATIM):
            return err(f"{given.keyword} needs an argument")
        try:
            return await found.run(self, argument)
        except BadCommand as error:
            return err(str(error))
        except DuckmailError as error:
            self._log_refusal(given.keyword, error)
            return failure(error)
        except (Disconnected, ConnectionError, TimeoutError):
            raise
        except Exception as error:
            self._log_defect(given.keyword, error)
            return INTERNAL

    async def _answer(self, reply: Reply) -> None:
        """Says it; too many errors end the connection."""
        self.dialogue.write(status(reply.positive, reply.text, reply.code))
        if reply.body is not None:
            await self._answer_body(reply.body)
        if not reply.positive:
            self._errors += 1
        elif self.state is State.TRANSACTION:
            self._errors = 0
        if self._errors >= self.settings.max_errors and not self.ended:
            self.dialogue.write(status(False, "Too many errors, closing connection"))
            self.ended = True

    async def _answer_body(self, body: Body) -> None:
        stuffing = Stuffing()
        try:
            async with aclosing(body):
                async for piece in body:
                    self.dialogue.write(stuffing.feed(piece))
                    await self.dialogue.room()
        except (Disconnected, ConnectionError):
            raise
        except Exception as error:
            if isinstance(error, DuckmailError):
                self._log_refusal("response", error)
            else:
                self._log_defect("response", error)
            self.connection.abort()
            raise Disconnected from error
        self.dialogue.write(stuffing.end())

    def _log_refusal(self, keyword: str, error: DuckmailError) -> None:
        """What the client is not told. Our fault, or theirs."""
        level = logging.WARNING if isinstance(error, Unavailable | CommitUnknown) else logging.DEBUG
        connection, kind = self.connection.id, type(error).__name__
        event(log, level, "command refused", connection=connection, command=keyword, kind=kind, fields=error.fields)

    def _log_defect(self, keyword: str, error: Exception) -> None:
        event(log, logging.ERROR, "command failed", exc_info=error, connection=self.connection.id, command=keyword)


@dataclass(frozen=True, slots=True)
class Command:
    """One row of the table. `run` gets the session and the argument, "" where there is none."""

    run: Callable[[Session, str], Awaitable[Reply | None]]
    states: frozenset[State]
    argument: Argument = Argument.NONE
