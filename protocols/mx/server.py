"""What all MX connections share, and the function that a listener calls for each."""

from contextlib import ExitStack

from duckmail.errors import LimitReached
from duckmail.runtime import metrics
from duckmail.runtime.budget import OctetBudget
from duckmail.services.connections import Connections
from duckmail.services.reception.reception import Reception
from protocols.mx.session import Session
from protocols.mx.settings import MxSettings
from protocols.net.connection import Connection
from protocols.net.limits import Limits
from protocols.net.peer import Peer
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
        self._connections = connections
        # What one process has is too much already: the others need not be asked.
        self._limits = Limits(0, settings.connections, exempt=settings.exempt, wide=True)

    async def serve(self, connection: Connection) -> None:
        """Runs one session to its end; closes the connection."""
        try:
            with self._limits.network(connection.peer), await self._place(connection.peer):
                await Session(connection, self.settings, self._reception, self._budget).run()
        except LimitReached as error:
            connection.write(reply(421, "4.7.0", error.text).to_bytes())
        finally:
            connection.close()

    async def _place(self, peer: Peer) -> ExitStack:
        """Raises: LimitReached."""
        most = self.settings.connections
        if not most or peer in self.settings.exempt:
            return ExitStack()
        try:
            return await self._connections.take(f"mx {peer.wide_network}", most)
        except LimitReached:
            metrics.REFUSED["network"].inc()
            raise LimitReached("Too many connections from your network", limit=most) from None
