"""The POP3 server: what `protocols.net` runs for each connection."""

from collections.abc import Awaitable, Callable

from duckmail.runtime.metrics import CommandMeter
from protocols.net.connection import Connection
from protocols.pop3.commands import COMMANDS
from protocols.pop3.session import Pop3Services, Session
from protocols.pop3.settings import Pop3Settings

OVERLOADED = b"-ERR [SYS/TEMP] Too many connections, try again later\r\n"
"""What a connection over a limit is told before it is closed."""


def make_serve(services: Pop3Services, settings: Pop3Settings) -> Callable[[Connection], Awaitable[None]]:
    """The function that serves one connection from its greeting to its end."""
    meter = CommandMeter("pop3", COMMANDS, untimed=("AUTH",))  # its exchange takes as long as the client likes

    async def serve(connection: Connection) -> None:
        await Session(connection, services, settings, COMMANDS, meter).run()

    return serve
