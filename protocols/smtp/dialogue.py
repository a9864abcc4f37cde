"""The two directions of one SMTP-like connection: commands and message octets in, replies out in order."""

from protocols.net.connection import Connection
from protocols.smtp.wire.receive import MAX_COMMAND_LINE, Receiver
from protocols.smtp.wire.reply import Reply, reply

_MAX_PENDING = 16 * 1024  # octets of replies held back while commands are pipelined


class Dialogue:
    """Holds replies back until no input is left (RFC 2920 §3.2), and ends the connection when the server drains.

    `line_limit`: octets of a line that comes in, its CRLF counted.
    """

    def __init__(
        self, connection: Connection, hostname: str, write_timeout: float, line_limit: int = MAX_COMMAND_LINE
    ) -> None:
        self.connection = connection
        self.hostname = hostname
        self.receiver = Receiver(line_limit)
        self.ended = False
        self.said = 0  # the code of the last reply
        self._write_timeout = write_timeout
        self._pending = bytearray()
        self._waiting = False
        self._last: tuple[str, str] | None = None  # status and text of the last word, when the session is to end
        connection.on_drain = self._drain

    def say(self, answer: Reply) -> None:
        self.said = answer.code
        self._pending += answer.to_bytes()

    def announce(self, code: int, text: str) -> None:
        """The first line of a reply whose last one `say` says."""
        self._pending += f"{code}-{text}\r\n".encode("ascii", "replace")

    def end(self, code: int, status: str, text: str) -> None:
        """Says the last word."""
        self.say(reply(code, status, f"{self.hostname} {text}"))
        self.ended = True

    async def receive(self, timeout: float) -> None:
        """Sends what is to be said, then takes in what arrives.

        Raises:
            TimeoutError: nothing came, or the peer does not read.
            ConnectionError: the peer, or the draining server, ended the connection.
        """
        await self.flush()
        self._waiting = True
        try:
            if self._last is not None:
                self._leave()
            data = await self.connection.receive(timeout)
        finally:
            self._waiting = False
        if not data:
            raise ConnectionResetError("end of stream")
        self.receiver.feed(data)

    async def flush(self) -> None:
        """Sends what is to be said."""
        if self._pending:
            self.write_pending()
            await self.connection.drain(self._write_timeout)

    async def settle(self) -> None:
        """Between two commands: says goodbye if the server drains, and keeps the replies held back few."""
        if self._last is not None and not self.ended:
            self.end(421, *self._last)
        elif len(self._pending) > _MAX_PENDING:
            await self.flush()

    def write_pending(self) -> None:
        if self._pending:
            self.connection.write(bytes(self._pending))
            self._pending.clear()

    def _drain(self) -> None:
        """The server stops."""
        self.end_session("Service shutting down", "4.3.2")

    def end_session(self, text: str, status: str = "4.7.0") -> None:
        """At once while waiting for input, else when what is being committed is answered."""
        self._last = self._last or (status, text)
        if self._waiting:
            self._leave()

    def _leave(self) -> None:
        if self._last is not None:
            self.end(421, *self._last)
            self.write_pending()
            self.connection.close()
