"""The two directions of one connection: lines in, octets out at the client's pace; the end when the server drains."""

from time import monotonic

from protocols.net.connection import Connection
from protocols.pop3.wire.lines import Lines
from protocols.pop3.wire.response import status

GATHERED = 64 * 1024  # octets written before the client's pace counts
LARGE = 16 * 1024  # octets from which a piece goes its own way


class Disconnected(Exception):
    """The connection is over: the client has closed it, or the server said goodbye."""


class Dialogue:
    """Small answers are gathered until no input is left (PIPELINING, RFC 2449 §6.6); `room` bounds what is gathered."""

    def __init__(self, connection: Connection, write_timeout: float) -> None:
        self.connection = connection
        self.lines = Lines()
        self.octets = 0  # written in all, for the log
        self._timeout = write_timeout
        self._gathered = bytearray()
        self._undrained = 0  # octets written since the client was last waited for
        self._waiting = False
        self._last: tuple[str, str] | None = None  # the last word and its code, when the session is to end
        connection.on_drain = self._drain

    # In

    async def line(self, deadline: float, limit: int) -> bytes:
        """The next line without its CRLF; what was written is handed over before waiting.

        Args:
            deadline: (monotonic) of the whole line: one octet a minute is none (protocols §10.1 H3).
            limit: octets, CRLF included.

        Raises:
            BadCommand: it is no proper line, and used up.
            TimeoutError: it did not come in time.
            Disconnected.
        """
        while True:
            if self._last is not None:
                self._goodbye(*self._last)
                raise Disconnected
            line = self.lines.next(limit)
            if line is not None:
                return line
            await self._receive(deadline)

    async def _receive(self, deadline: float) -> None:
        await self.flush()
        self._waiting = True
        try:
            data = b"" if self._last is not None else await self.connection.receive(max(0.0, deadline - monotonic()))
        finally:
            self._waiting = False
        if data:
            self.lines.feed(data)
        elif self._last is None:
            raise Disconnected

    # Out

    def write(self, data: bytes) -> None:
        self.octets += len(data)
        self._undrained += len(data)
        if len(data) < LARGE:
            self._gathered += data
        else:  # not copied once more
            self._push()
            self.connection.write(data)

    async def flush(self) -> None:
        """Hands over what is gathered and waits until the client has taken most of it.

        Raises:
            ConnectionError: it is gone, or took nothing for the write timeout.
        """
        self._push()
        self._undrained = 0
        try:
            await self.connection.drain(self._timeout)
        except TimeoutError:
            self.connection.abort()
            raise ConnectionResetError("the client stopped reading") from None

    async def room(self) -> None:
        """Called between the pieces of a large response."""
        if self._undrained >= GATHERED:
            await self.flush()

    def _push(self) -> None:
        if self._gathered:
            self.connection.write(bytes(self._gathered))
            self._gathered.clear()

    # TLS

    async def start_tls(self, answer: bytes) -> None:
        """Says `answer` and goes on in TLS; nothing that came before counts. Raises: Disconnected, ConnectionError."""
        await self.flush()
        # RFC 2595 §4, H2: what follows STLS in plaintext was put there by somebody else.
        self.lines.discard()
        self.octets += len(answer)
        self.connection.write(answer)
        try:
            await self.connection.start_tls()
        except OSError as error:  # the handshake failed: the client's affair, like any lost connection
            raise Disconnected from error

    # The end

    def _drain(self) -> None:
        """The server stops."""
        # RFC 3206 §4: SYS/TEMP, it goes away by itself.
        self.end("Server shutting down", "SYS/TEMP")

    def end(self, text: str, code: str = "") -> None:
        """A session that waits ends at once, another one when its command is answered. No deletion is carried out."""
        self._last = self._last or (text, code)
        if self._waiting:
            self._goodbye(*self._last)

    def _goodbye(self, text: str, code: str) -> None:
        if self.connection.is_closing:
            return
        self.write(status(False, text, code))
        self._push()
        self.connection.close()
