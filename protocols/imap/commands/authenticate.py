"""AUTHENTICATE (RFC 3501 §6.2.2) with an initial response (SASL-IR, RFC 4959)."""

from dataclasses import dataclass, field

from protocols.imap.command import BEFORE_LOGIN, Trait, command
from protocols.imap.commands.login import PRIVACY_REQUIRED, admit, attempt
from protocols.imap.reply import Reply, bad, no
from protocols.imap.session import Session
from protocols.imap.wire.parser import Parser
from protocols.sasl.steps import ActingAsAnother, SaslError


@dataclass(frozen=True, slots=True)
class _Arguments:
    mechanism: str
    initial: bytes | None = field(repr=False)


def _parse(parser: Parser) -> _Arguments:
    parser.sp()
    mechanism = parser.keyword()
    # RFC 4959 §3: initial-resp is base64, which is an astring to the eye; "=" stands for an empty one.
    initial = parser.astring() if parser.try_byte(b" ") else None
    return _Arguments(mechanism, initial)


async def _run(session: Session, arguments: _Arguments) -> Reply:
    if not session.login_allowed:
        return PRIVACY_REQUIRED
    mechanism = session.settings.sasl.start(arguments.mechanism, session.connection.end_point)
    if mechanism is None:
        return no("Unknown authentication mechanism", "CANNOT")

    async def ask(challenge: bytes) -> bytes:
        session.writer.continuation(challenge)
        return await session.input.line(session.settings.login_timeout)

    try:
        found = await attempt(session).by_mechanism(mechanism, arguments.initial, ask)
    except ActingAsAnother as error:
        return no(str(error), "AUTHORIZATIONFAILED")  # RFC 5530 §3
    except SaslError as error:  # RFC 3501 §6.2.2: BAD for a cancelled exchange and for invalid base64
        return bad(str(error))
    return await admit(session, found)


AUTHENTICATE = command("AUTHENTICATE", BEFORE_LOGIN, _parse, _run, Trait.WAITS)
