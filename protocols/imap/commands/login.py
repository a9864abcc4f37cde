"""LOGIN (RFC 3501 §6.2.3), and the end that every way of logging in has in common."""

from dataclasses import dataclass, field

from duckmail.errors import AuthenticationFailed, LimitReached
from duckmail.services.auth import SignedIn
from protocols.imap import capabilities
from protocols.imap.command import BEFORE_LOGIN, command
from protocols.imap.reply import Reply, no, ok
from protocols.imap.session import Session
from protocols.imap.wire.parser import Parser
from protocols.sasl.exchange import Attempt

# RFC 5530 §3: PRIVACYREQUIRED, when the operation is not permitted without TLS.
PRIVACY_REQUIRED = no("Run STARTTLS first", "PRIVACYREQUIRED")


@dataclass(frozen=True, slots=True)
class _Arguments:
    username: bytes
    password: bytes = field(repr=False)


def _parse(parser: Parser) -> _Arguments:
    parser.sp()
    username = parser.astring()
    parser.sp()
    return _Arguments(username, parser.astring())


async def _run(session: Session, arguments: _Arguments) -> Reply:
    if not session.login_allowed:
        return PRIVACY_REQUIRED
    try:
        username, password = arguments.username.decode("utf-8"), arguments.password.decode("utf-8")
    except UnicodeDecodeError:
        raise AuthenticationFailed from None
    return await admit(session, await attempt(session).by_password(username, password))


def attempt(session: Session) -> Attempt:
    return Attempt(session.services.auth, "imap", "imap", session.connection)


async def admit(session: Session, found: SignedIn) -> Reply:
    """Who has signed in takes a place among the user's sessions."""
    try:
        await session.log_in(found.principal, found.user.allowed.imap_max_connections)
    except LimitReached as error:
        # RFC 3501 §7.1: ALERT is shown to the person, who can close another program.
        return no(error.text, "ALERT")
    # RFC 3501 §7.2.1: capabilities may change with the login; the code saves the client a round trip.
    return ok("Logged in", capabilities.announced(session).decode("ascii"))


LOGIN = command("LOGIN", BEFORE_LOGIN, _parse, _run)
