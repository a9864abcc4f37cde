"""What all LMTP connections share, and the function that a listener calls for each."""

from collections.abc import Callable
from dataclasses import dataclass

from duckmail.runtime.budget import OctetBudget
from duckmail.services.delivery import Delivery
from protocols.lmtp.session import Session
from protocols.lmtp.settings import LmtpSettings
from protocols.net.connection import Connection
from protocols.net.peer import Peer
from protocols.smtp.wire.reply import reply


@dataclass(frozen=True, slots=True)
class LmtpServer:
    """`peers` says who may deliver; LMTP has no other access control, whoever may connect may deliver to anybody."""

    settings: LmtpSettings
    delivery: Delivery
    budget: OctetBudget
    peers: Callable[[Peer], bool]

    async def serve(self, connection: Connection) -> None:
        """Runs one session to its end; closes the connection."""
        try:
            if self.peers(connection.peer):
                await Session(connection, self.settings, self.delivery, self.budget).run()
            else:
                # 421, not 554: a relay that was forgotten in the list keeps its mail until that is mended.
                connection.write(reply(421, "4.7.1", f"{connection.peer} may not deliver here").to_bytes())
        finally:
            connection.close()
