"""Drives one session: events in, commands carried out one after another, one log line each.

A command that fails with an error nobody expected is answered `NO [SERVERBUG]`, logged with its stack, and the session
goes on (H1). Only three things cut a connection without the tagged answer that is due: the client is gone, half a
response is out, or the outcome of a commit is not known (P1: the client must look again).
"""

import logging
from collections.abc import Mapping
from time import monotonic

from duckmail.errors import CommitUnknown, DuckmailError
from duckmail.runtime.log import event as log_event
from duckmail.runtime.metrics import UNKNOWN, CommandMeter
from protocols.imap import capabilities
from protocols.imap.command import SELECTED, Command, Run, Trait
from protocols.imap.input import BadLine, Disconnected, Silence
from protocols.imap.progress import in_progress
from protocols.imap.reply import SERVERBUG, Reply, bad, failure, no
from protocols.imap.selected import UidRequired, UnknownNumber
from protocols.imap.session import UTF8_ACCEPT, Session, State, log
from protocols.imap.wire import framer
from protocols.imap.wire.parser import ParseError, Parser
from protocols.imap.wire.search import BadCharset

NOT_WAITED_FOR = 4096  # octets of a non-synchronising literal under LITERAL- (RFC 7888 §5)
PARSED_HERE = 2048  # octets of a command; up to 3 us each, so more is parsed in a thread (H7)


class _Cut(Exception):
    """The connection ends here, without another word."""


def _bad_number(error: UnknownNumber | UidRequired) -> Reply:
    if isinstance(error, UidRequired):
        return bad("Only UIDs are taken", "UIDREQUIRED")  # RFC 9586 §3
    return bad("No such message sequence number")


def _octets(part: framer.Part) -> int:
    """What a parser may have to read; streamed literals are not for parsing."""
    if isinstance(part, bytes):
        return len(part)
    return len(part.data) if isinstance(part, framer.Literal) else 0


class Driver:
    def __init__(self, session: Session, commands: Mapping[str, Command], meter: CommandMeter) -> None:
        self._session = session
        self._commands = commands
        self._meter = meter
        self._bad = 0
        self._last: tuple[str, str] | None = None  # the text and code of BYE, when the session is to end
        self._refused = bad("Literal too large")  # the answer when the literal that is being dropped has passed

    async def run(self) -> None:
        """From the greeting to the end of the connection; never raises for what a client does."""
        session = self._session
        session.connection.on_drain = self._drain
        session.end = self._end
        session.writer.status("OK", f"{session.settings.name} ready", capabilities.announced(session).decode("ascii"))
        try:
            await self._serve()
            await session.writer.flush()
        except (Disconnected, ConnectionError):
            pass
        except _Cut:
            session.connection.abort()
        finally:
            session.connection.on_drain = None
            await session.close()
            session.connection.close()

    async def _serve(self) -> None:
        session = self._session
        while session.state is not State.LOGOUT:
            try:
                await self._handle(await session.input.event(self._timeout()))
            except Silence:
                session.bye("Autologout, nothing was heard for too long")
            if self._last is not None:
                session.bye(*self._last)

    def _timeout(self) -> float:
        """Before login there is one time limit for all: one octet a minute does not keep a connection (H3)."""
        session = self._session
        if session.uploads:
            return session.settings.upload_timeout
        if session.logged_in:
            return session.settings.idle_timeout
        return max(0.0, session.login_ends - monotonic())

    def _drain(self) -> None:
        """The server drains."""
        self._end("Server shutting down", "UNAVAILABLE")

    def _end(self, text: str, code: str = "") -> None:
        """A session that waits says BYE at once, another one after its command."""
        self._last = self._last or (text, code)
        session = self._session
        if session.input.waiting and not session.writer.torn:
            session.bye(*self._last)
            session.writer.push()
            session.connection.close()

    async def _handle(self, event: framer.Event) -> None:
        session = self._session
        match event:
            case framer.CommandReady(command):
                await self._command(command)
            case framer.LiteralAnnounced():
                await self._announced(event)
            case framer.LiteralData(data):
                session.uploads[-1] += data
            case framer.LiteralEnd():
                pass
            case framer.Drained(tag):
                await session.end_upload()
                self._answer(tag, self._refused)
            case framer.Malformed(tag, text):
                await session.end_upload()
                self._answer(tag or "*", bad(text))
            case framer.ContinuationLine():
                raise AssertionError("a line nobody asked for")

    # Literals

    async def _announced(self, event: framer.LiteralAnnounced) -> None:
        """Decides about a literal: small ones belong to any command, a message only where the command takes it."""
        session = self._session
        spec = self._commands.get(event.name)
        if session.settings.literal_minus and not event.synchronising and event.size > NOT_WAITED_FOR:
            self._refuse(event, bad("Literals of more than 4096 octets must be synchronizing", "TOOBIG"))
            return
        try:
            streamed = (
                spec is not None
                and spec.announced is not None
                and session.state in spec.states
                and await spec.announced(session, event)
            )
        except DuckmailError as error:
            self._refuse(event, failure(error, try_create=spec is not None and Trait.TRY_CREATE in spec.traits))
            return
        except ParseError as error:
            self._refuse(event, bad(str(error)))
            return
        if streamed:
            session.uploads.append(bytearray())
            session.input.framer.stream_literal()
        elif event.within_limits:
            session.input.framer.accept_literal()
        else:
            self._refuse(event, no("Literal too large", "TOOBIG"))
            return
        if event.synchronising:
            session.writer.continuation(b"Ready")

    def _refuse(self, event: framer.LiteralAnnounced, reply: Reply) -> None:
        """RFC 7888 §4: a synchronising literal is refused by the tagged answer instead of `+`; the octets of another
        one come anyway, and are dropped before it is answered."""
        self._session.input.framer.refuse_literal()
        if event.synchronising:
            self._answer(event.tag, reply)
        else:
            self._refused = reply

    # Commands

    async def _command(self, command: framer.Command) -> None:
        session = self._session
        started, octets = monotonic(), session.writer.octets
        session.tag = command.tag
        spec = self._commands.get(command.name)
        user = session.principal.username if session.principal else ""
        reply = await self._carry_out(command, spec)
        await session.end_upload()
        expunge = spec is not None and Trait.NO_EXPUNGE not in spec.traits and reply.expunge
        await session.write_updates(expunge=expunge)
        self._answer(command.tag, reply)
        if reply.after is not None:
            await session.writer.flush()
            await reply.after()
        name, seconds = spec.name if spec else UNKNOWN, monotonic() - started
        self._meter.done(name, reply.status, seconds)
        log_event(
            log,
            logging.INFO,
            "command",
            connection=session.connection.id,
            user=session.principal.username if session.principal else user,
            command=name,
            ms=round(seconds * 1000, 1),
            result=reply.status,
            octets=session.writer.octets - octets,
        )

    async def _carry_out(self, command: framer.Command, spec: Command | None) -> Reply:
        session = self._session
        try:
            run = await self._prepare(command, spec)
            return run if isinstance(run, Reply) else await self._run(run, spec, command.tag)
        except CommitUnknown as error:
            self._log_refusal(command, error)
            raise _Cut from error
        except DuckmailError as error:
            self._log_refusal(command, error)
            if session.writer.torn:
                raise _Cut from error
            return failure(error, try_create=spec is not None and Trait.TRY_CREATE in spec.traits)
        except (UnknownNumber, UidRequired) as error:
            return _bad_number(error)
        except BadLine as error:
            return bad(str(error))
        except (Disconnected, Silence, ConnectionError):
            raise
        except Exception as error:
            log_event(
                log,
                logging.ERROR,
                "command failed",
                exc_info=error,
                connection=session.connection.id,
                command=command.name,
            )
            if session.writer.torn:
                raise _Cut from error
            return SERVERBUG

    async def _run(self, run: Run, spec: Command | None, tag: str) -> Reply:
        if self._session.selected is not None and spec is not None and spec.states == SELECTED:
            await self._session.mail.reach(self._session.selected.view)
        if spec is not None and Trait.WAITS in spec.traits:
            return await run(self._session)
        with in_progress(self._session, tag):
            return await run(self._session)

    def _log_refusal(self, command: framer.Command, error: DuckmailError) -> None:
        """What the client is not told. It is our fault when waiting helps, theirs otherwise."""
        level = logging.WARNING if error.temporary else logging.DEBUG
        connection, kind = self._session.connection.id, type(error).__name__
        log_event(
            log, level, "command refused", connection=connection, command=command.name, kind=kind, fields=error.fields
        )

    async def _prepare(self, command: framer.Command, spec: Command | None) -> Run | Reply:
        if spec is None:
            return bad("Unknown command")
        if self._session.state not in spec.states:
            return bad(f"{spec.name} is not allowed now")
        if self._session.uid_only and Trait.NUMBERED in spec.traits:
            return _bad_number(UidRequired())
        any_charset = UTF8_ACCEPT not in self._session.enabled
        parser = Parser(command.parts, utf8=self._session.utf8, any_charset=any_charset)
        try:
            if sum(map(_octets, command.parts)) <= PARSED_HERE:
                return spec.prepare(parser)
            return await self._session.services.threads.run(spec.prepare, parser)
        except BadCharset as error:  # RFC 3501 §6.4.4: NO, and the charsets that would do
            return no(str(error), "BADCHARSET (US-ASCII UTF-8)")
        except ParseError as error:
            return bad(str(error))

    def _answer(self, tag: str, reply: Reply) -> None:
        """The tagged answer; too many BAD ones end the connection."""
        session = self._session
        session.writer.tagged(tag, reply)
        if why := session.lost:
            session.bye(why)
        if reply.status == "BAD":
            self._bad += 1
            if self._bad >= session.settings.max_bad:
                session.bye("Too many protocol errors")
