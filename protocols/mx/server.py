"""What all MX connections share, and the function that a listener calls for each."""

from duckmail.errors import LimitReached
from duckmail.runtime.budget import OctetBudget
from duckmail.services.connections import Connections
from duckmail.services.reception.reception import Reception
from protocols.mx.session import Session
from protocols.mx.settings import MxSettings
from protocols.net.connection import Connection
from protocols.net.limits import Limits
from protocols.smtp.wire.reply import reply

OVERLOADED = b"421 4.3.2 Too many connections, try again later\r\n"
"""What a connection over a limit is told before it is closed."""


class MxServer:
    def __init__(
        self, settings: MxSettings, reception: Reception, budget: OctetBudget, connections: Connections
    ) -> None:
        """`connections`: counts those of a network in all processes."""
        self.settings = settings
        self._reception = reception
        self._budget = budget
        self._limits = Limits(0, settings.connections, exempt=settings.exempt, wide=True, everywhere=connections)

    async def serve(self, connection: Connection) -> None:
        """Runs one session to its end; closes the connection."""
        try:
            with await self._limits.network(connection.peer):
                await Session(connection, self.settings, self._reception, self._budget).run()
        except LimitReached as error:
            connection.write(reply(421, "4.7.0", error.text).to_bytes())
        finally:
            connection.close()
