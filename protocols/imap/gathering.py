"""Responses that are put together before it is known whether they may be sent."""

from protocols.imap.session import Session
from protocols.imap.writer import Writer

MOST_MESSAGES = 1000  # of which data is gathered at once
MOST_OCTETS = 1024 * 1024


class Overflow(Exception):
    """More than a session is told without asking."""


class Gathering(Writer):
    """Holds what is written to it. Raises: Overflow."""

    def __init__(self, session: Session) -> None:
        super().__init__(session.connection, session.settings.write_timeout)
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        self.data += data
        if len(self.data) > MOST_OCTETS:
            raise Overflow

    async def room(self) -> None:
        """There is, up to the limit."""
