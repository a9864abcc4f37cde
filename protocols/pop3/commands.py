"""Every command there is, and the one table of what may be said when (RFC 1939 §5-§7, RFC 2449, RFC 2595, RFC 5034).

A command gives its answer; what it raises is answered by the session. APOP is not here on purpose: it needs the
password itself on the server, and rests on MD5. Nor is LANG (RFC 6856 §3): all texts are English.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from itertools import islice

from duckmail.errors import NotFound
from duckmail.model.account import Principal
from duckmail.services.maildrop import Entry
from protocols.pop3.reply import Body, Reply, err, ok
from protocols.pop3.session import Argument, Command, Session, State
from protocols.pop3.wire.command import parse_number, parse_top
from protocols.pop3.wire.response import status
from protocols.sasl.exchange import Attempt
from protocols.sasl.mechanisms import MAX_RESPONSE
from protocols.sasl.steps import SaslError

# RFC 5034 §4: the responses of an exchange are not held to the limit of commands.
SASL_LINE = MAX_RESPONSE + 2
SLICE = 1_000  # lines of a listing written before other sessions get their turn

# RFC 2449 §6, RFC 3206 §4, RFC 6856 §2. EXPIRE: nothing is deleted for having been fetched or for its age.
# UTF8 USER: names and passwords may be UTF-8, with or without the command UTF8.
_CAPABILITIES = ("TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER", "UTF8 USER")
_TLS_FIRST = err("Run STLS first")


# Any state


async def capa(session: Session, _: str) -> Reply:
    # RFC 2449 §6: what serves to log in is announced in both states; whether it can be used depends on TLS alone.
    found = list(_CAPABILITIES)
    if session.login_allowed:
        found += ["USER", f"SASL {' '.join(session.settings.sasl.names(session.connection.end_point))}"]
    if session.stls_allowed:
        found.append("STLS")
    found.append("-".join(word for word in ("IMPLEMENTATION duckmail", session.settings.version) if word))
    return ok("Capability list follows", _listing(found))


async def quit_(session: Session, _: str) -> Reply:
    """The UPDATE state (RFC 1939 §6): what was asked for is committed, then the maildrop is free, then +OK."""
    session.ended = True
    if session.state is State.AUTHORIZATION:
        return ok("Bye")
    try:
        await session.maildrop.commit()
    finally:
        # Before the answer: a client that comes back at once must not find the maildrop in use by itself.
        await session.release()
    return ok("Bye")


# AUTHORIZATION


async def stls(session: Session, _: str) -> Reply | None:
    if session.connection.tls:
        return err("TLS is active already")
    if not session.stls_allowed:
        return err("TLS is not available")
    await session.dialogue.start_tls(status(True, "Begin TLS negotiation"))
    return None


async def utf8(_session: Session, _: str) -> Reply:
    # RFC 6856 §2.1: from here on headers may be UTF-8. They are sent as they are stored in any case: to refuse a
    # message to a program that does not know of UTF8 would keep its user from it.
    return ok("UTF8 enabled")


async def user(session: Session, argument: str) -> Reply:
    if not session.login_allowed:
        return _TLS_FIRST
    # RFC 1939 §7: whether there is such a user is not told.
    session.user = argument
    return ok("Password, please")


async def pass_(session: Session, argument: str) -> Reply:
    # RFC 1939 §7: only right after a successful USER; blanks may belong to the password.
    if not session.user:
        return err("USER comes first")
    found = await _attempt(session).by_password(session.user, argument)
    return await _admit(session, found.principal)


async def auth(session: Session, argument: str) -> Reply:
    """RFC 5034 §4: AUTH mechanism [initial-response]."""
    if not session.login_allowed:
        return _TLS_FIRST
    name, _, initial = argument.partition(" ")
    mechanism = session.settings.sasl.start(name, session.connection.end_point)
    if mechanism is None:
        return err("Unknown authentication mechanism")

    async def ask(challenge: bytes) -> bytes:
        session.dialogue.write(b"+ %b\r\n" % challenge)
        return await session.line(SASL_LINE)

    try:
        found = await _attempt(session).by_mechanism(mechanism, initial.lstrip(" ").encode() or None, ask)
    except SaslError as error:
        return err(str(error))
    return await _admit(session, found.principal)


def _attempt(session: Session) -> Attempt:
    return Attempt(session.services.auth, "pop3", "pop3", session.connection)


async def _admit(session: Session, principal: Principal) -> Reply:
    """The end that every way of logging in has in common."""
    try:
        maildrop = await session.log_in(principal)
    except NotFound as error:
        return err(error.text, "SYS/PERM")  # RFC 3206 §4: no INBOX; somebody has to look after the account
    return ok("Logged in, {} messages ({} octets)".format(*maildrop.status()))


# TRANSACTION


async def stat(session: Session, _: str) -> Reply:
    return ok("{} {}".format(*session.maildrop.status()))


async def list_(session: Session, argument: str) -> Reply:
    return _scan(session, argument, lambda entry: str(entry.size))


async def uidl(session: Session, argument: str) -> Reply:
    return _scan(session, argument, lambda entry: entry.unique_id)


def _scan(session: Session, argument: str, value: Callable[[Entry], str]) -> Reply:
    """One line for each message that is not deleted, or for the one that is asked for (RFC 1939 §5)."""
    maildrop = session.maildrop
    if argument:
        number = parse_number(argument)
        return ok(f"{number} {value(maildrop.entry(number))}")
    lines = (f"{number} {value(entry)}" for number, entry in maildrop.entries())
    return ok("{} messages ({} octets)".format(*maildrop.status()), _listing(lines))


async def retr(session: Session, argument: str) -> Reply:
    number = parse_number(argument)
    size = session.maildrop.entry(number).size
    return ok(f"{size} octets", await _begun(session.maildrop.retrieve(number)))


async def top(session: Session, argument: str) -> Reply:
    number, lines = parse_top(argument)
    return ok("Top of message follows", await _begun(session.maildrop.top(number, lines)))


async def dele(session: Session, argument: str) -> Reply:
    number = parse_number(argument)
    session.maildrop.delete(number)
    return ok(f"Message {number} deleted")


async def noop(_session: Session, _: str) -> Reply:
    return ok()


async def rset(session: Session, _: str) -> Reply:
    session.maildrop.reset()
    return ok("{} messages ({} octets)".format(*session.maildrop.status()))


# Bodies


async def _begun(body: Body) -> Body:
    """`body` with its first piece read: what fails there fails before +OK is said."""
    first = await anext(body, b"")
    return _rest(first, body)


async def _rest(first: bytes, body: Body) -> Body:
    try:
        yield first
        async for piece in body:
            yield piece
    finally:
        await body.aclose()


async def _listing(lines: Iterable[str]) -> Body:
    left = iter(lines)
    while some := list(islice(left, SLICE)):
        yield "".join(f"{line}\r\n" for line in some).encode("ascii")
        await asyncio.sleep(0)


_BEFORE, _AFTER = frozenset({State.AUTHORIZATION}), frozenset({State.TRANSACTION})
_ANY = _BEFORE | _AFTER

COMMANDS: Mapping[str, Command] = {
    "CAPA": Command(capa, _ANY),
    "QUIT": Command(quit_, _ANY),
    "STLS": Command(stls, _BEFORE),
    "UTF8": Command(utf8, _BEFORE),
    "USER": Command(user, _BEFORE, Argument.REQUIRED),
    "PASS": Command(pass_, _BEFORE, Argument.VERBATIM),
    "AUTH": Command(auth, _BEFORE, Argument.REQUIRED),
    "STAT": Command(stat, _AFTER),
    "LIST": Command(list_, _AFTER, Argument.OPTIONAL),
    "UIDL": Command(uidl, _AFTER, Argument.OPTIONAL),
    "RETR": Command(retr, _AFTER, Argument.REQUIRED),
    "TOP": Command(top, _AFTER, Argument.REQUIRED),
    "DELE": Command(dele, _AFTER, Argument.REQUIRED),
    "NOOP": Command(noop, _AFTER),
    "RSET": Command(rset, _AFTER),
}
