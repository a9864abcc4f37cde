"""AUTHENTICATE (RFC 3501 §6.2.2) with an initial response (SASL-IR, RFC 4959)."""

import base64
from dataclasses import dataclass, field

from protocols.imap.command import BEFORE_LOGIN, Trait, command
from protocols.imap.commands.login import PRIVACY_REQUIRED, log_in
from protocols.imap.reply import Reply, bad, no
from protocols.imap.session import Session
from protocols.imap.wire.parser import Parser
from protocols.sasl import mechanisms
from protocols.sasl.mechanisms import Credentials, SaslError


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
    mechanism = mechanisms.start(arguments.mechanism)
    if mechanism is None:
        return no("Unknown authentication mechanism", "CANNOT")
    try:
        result = await _exchange(session, mechanism, arguments.initial)
    except SaslError as error:  # RFC 3501 §6.2.2: BAD for a cancelled exchange and for invalid base64
        return bad(str(error))
    return await log_in(session, result.username, result.password)


async def _exchange(session: Session, mechanism: mechanisms.Mechanism, initial: bytes | None) -> Credentials:
    response = initial
    challenge = mechanism.first_challenge()
    while True:
        if response is None:
            session.writer.continuation(base64.b64encode(challenge))
            response = await session.input.line(session.settings.login_timeout)
        step = mechanism.step(mechanisms.decode(response))
        if isinstance(step, Credentials):
            return step
        challenge, response = step, None


AUTHENTICATE = command("AUTHENTICATE", BEFORE_LOGIN, _parse, _run, Trait.WAITS)
