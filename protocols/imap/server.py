"""The IMAP server: what `protocols.net` runs for each connection."""

from collections.abc import Awaitable, Callable

from duckmail.runtime.metrics import CommandMeter
from protocols.imap.driver import Driver
from protocols.imap.registry import commands
from protocols.imap.session import ImapServices, Session
from protocols.imap.settings import ImapSettings
from protocols.net.connection import Connection

OVERLOADED = b"* BYE [UNAVAILABLE] Too many connections, try again later\r\n"
"""What a connection over a limit is told before it is closed."""


def make_serve(services: ImapServices, settings: ImapSettings) -> Callable[[Connection], Awaitable[None]]:
    """The function that serves one connection from its greeting to its end.

    Raises:
        LookupError: a capability is announced without its code.
    """
    table = commands()
    meter = CommandMeter("imap", table, untimed=("IDLE",))

    async def serve(connection: Connection) -> None:
        await Driver(Session(connection, services, settings), table, meter).run()

    return serve
