"""What all submission connections share, and the function that a listener calls for each."""

from dataclasses import dataclass

from protocols.net.connection import Connection
from protocols.submission.session import Session, SubmissionServices
from protocols.submission.settings import SubmissionSettings

OVERLOADED = b"421 4.3.2 Too many connections, try again later\r\n"
"""What a connection over a limit is told before it is closed."""


@dataclass(frozen=True, slots=True)
class SubmissionServer:
    settings: SubmissionSettings
    services: SubmissionServices

    async def serve(self, connection: Connection) -> None:
        """Runs one session to its end; closes the connection."""
        try:
            await Session(connection, self.settings, self.services).run()
        finally:
            connection.close()
