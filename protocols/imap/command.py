"""What a command is: a name, the states it is legal in, how it is parsed, what it does."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Flag, auto
from typing import TypeVar

from protocols.imap.reply import Reply
from protocols.imap.session import Session, State
from protocols.imap.wire.framer import LiteralAnnounced
from protocols.imap.wire.parser import Parser

A = TypeVar("A")
Run = Callable[[Session], Awaitable[Reply]]
Announced = Callable[[Session, LiteralAnnounced], Awaitable[bool]]

ANY = frozenset({State.NOT_AUTHENTICATED, State.AUTHENTICATED, State.SELECTED})
BEFORE_LOGIN = frozenset({State.NOT_AUTHENTICATED})
LOGGED_IN = frozenset({State.AUTHENTICATED, State.SELECTED})
AUTHENTICATED = frozenset({State.AUTHENTICATED})
SELECTED = frozenset({State.SELECTED})


class Trait(Flag):
    """What the core must know of a command.

    NO_EXPUNGE: EXPUNGE must not be sent while it runs (RFC 3501 §7.4.1).
    TRY_CREATE: a mailbox that was not found is its target (RFC 3501 §6.3.11).
    WAITS: for the client, who may take its time.
    NUMBERED: takes or tells message sequence numbers; there is a UID form (RFC 9586 §3).
    """

    NONE = 0
    NO_EXPUNGE = auto()
    TRY_CREATE = auto()
    WAITS = auto()
    NUMBERED = auto()


@dataclass(frozen=True, slots=True)
class Command:
    """`prepare` parses the arguments (ParseError) and gives what then carries them out. `announced` decides about a
    literal before its octets come: True streams it into `Session.uploads`, False leaves it to the framer's limits, a
    DuckmailError refuses it."""

    name: str
    states: frozenset[State]
    prepare: Callable[[Parser], Run]
    traits: Trait = Trait.NONE
    announced: Announced | None = None


def command(
    name: str,
    states: frozenset[State],
    parse: Callable[[Parser], A],
    run: Callable[[Session, A], Awaitable[Reply]],
    traits: Trait = Trait.NONE,
    *,
    announced: Announced | None = None,
) -> Command:
    """A command whose arguments `parse` reads, up to the end of the line, before `run` is given them (H1)."""

    def prepare(parser: Parser) -> Run:
        arguments = parse(parser)
        parser.end()
        return lambda session: run(session, arguments)

    return Command(name, states, prepare, traits, announced)


def nothing(_parser: Parser) -> None:
    """The arguments of a command that takes none."""
