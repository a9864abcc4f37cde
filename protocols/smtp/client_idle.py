"""Connections of the SMTP client between two messages: kept for a moment, for another message to the same server."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from duckmail.model.queue import Destination
from protocols.smtp.client_connection import SmtpConnection


@dataclass(frozen=True, slots=True)
class Key:
    """Who may use a connection: mail for the same server under the same rule of TLS."""

    destination: Destination
    policy: str


class Idle:
    """`seconds`: how long one is kept. `most`: of all servers; above it the one that waits longest says goodbye."""

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._waiting: OrderedDict[SmtpConnection, tuple[Key, asyncio.TimerHandle]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, key: Key) -> SmtpConnection | None:
        """The youngest that is still of use; it is the caller's now."""
        for connection in [one for one, (of, _) in reversed(self._waiting.items()) if of == key]:
            _, timer = self._waiting.pop(connection)
            timer.cancel()
            if not connection.interrupted:
                return connection
            connection.abort()  # it has closed the connection, or said why it will
        return None

    def keep(self, key: Key, connection: SmtpConnection) -> None:
        """It has sent a message to its end, and no error ever came."""
        timer = asyncio.get_running_loop().call_later(self._seconds, self._leave, connection)
        self._waiting[connection] = key, timer
        if len(self._waiting) > self._most:
            self._leave(next(iter(self._waiting)))

    def close(self) -> None:
        """Says goodbye to all."""
        for connection in list(self._waiting):
            self._leave(connection)

    def _leave(self, connection: SmtpConnection) -> None:
        _, timer = self._waiting.pop(connection)
        timer.cancel()
        connection.quit()
