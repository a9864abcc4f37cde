"""STARTTLS (RFC 3501 §6.2.1, RFC 8314)."""

from protocols.imap.command import BEFORE_LOGIN, command, nothing
from protocols.imap.input import Disconnected
from protocols.imap.reply import Reply, bad, no, ok
from protocols.imap.session import Session


async def _run(session: Session, _: None) -> Reply:
    if session.connection.tls:
        return bad("TLS is active already")
    if not session.starttls_allowed:
        return no("TLS is not available", "CANNOT")

    async def start_tls() -> None:
        # RFC 3501 §6.2.1: nothing may follow the CRLF of the command. What does was injected in plaintext (H2).
        session.input.framer.discard()
        session.connection.discard_received()
        try:
            await session.connection.start_tls()
        except OSError as error:  # the handshake failed: the client's affair, like any lost connection
            raise Disconnected from error

    return ok("Begin TLS negotiation now", after=start_tls)


STARTTLS = command("STARTTLS", BEFORE_LOGIN, nothing, _run)
