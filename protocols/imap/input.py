"""The way in: framed events from a connection, each waited for with a timeout."""

from time import monotonic

from protocols.imap.deflate import BadStream, Inflate
from protocols.imap.wire.framer import BEFORE_LOGIN, ContinuationLine, Event, Framer, Malformed
from protocols.imap.writer import Writer
from protocols.net.connection import Connection


class Disconnected(Exception):
    """The client has closed the connection."""


class Silence(Exception):
    """The client has sent nothing for as long as it may."""


class BadLine(Exception):
    """Instead of the line that the command in progress asked for came something else; answered BAD."""


class Input:
    def __init__(self, connection: Connection, writer: Writer) -> None:
        self._connection = connection
        self._writer = writer
        self.framer = Framer(BEFORE_LOGIN)
        self._inflate: Inflate | None = None
        self.waiting = False  # for the first octet of what the client does next

    async def event(self, timeout: float) -> Event:
        """The next event; what was written is handed over before waiting, so pipelined commands share a write.

        Raises:
            Silence: no event within `timeout` seconds, whatever came (one octet a minute is none, H3); ask again to go
                on waiting.
            Disconnected: the client is gone.
        """
        deadline = monotonic() + timeout
        while (event := self.framer.next_event()) is None:
            if self._inflate is not None and (inflated := self._inflated(self._inflate)):
                self.framer.feed(inflated)
                continue
            await self._writer.flush()
            self.waiting = True
            try:
                data = await self._connection.receive(max(0.0, deadline - monotonic()))
            except TimeoutError:
                raise Silence from None
            finally:
                self.waiting = False
            if not data:
                raise Disconnected
            if self._inflate is None:
                self.framer.feed(data)
            else:
                self._inflate.feed(data)
        return event

    def compress(self) -> None:
        """From here on all that comes is compressed (RFC 4978)."""
        self._inflate = Inflate()

    def _inflated(self, stream: Inflate) -> bytes:
        """Some more octets of what has come; b"" when all is used up. Raises: Disconnected, behind what is garbage."""
        try:
            return stream.take()
        except BadStream:
            raise Disconnected from None

    async def line(self, timeout: float) -> bytes:
        """A line that is no command: a SASL response, `DONE`.

        Raises:
            BadLine: it broke the limits, or was not a line. Silence, Disconnected: as `event`.
        """
        self.framer.expect_line()
        return await self.expected_line(timeout)

    async def expected_line(self, timeout: float) -> bytes:
        """Goes on waiting for the line that `line` timed out on."""
        match await self.event(timeout):
            case ContinuationLine(data):
                return data
            case Malformed(text=text):
                raise BadLine(text)
            case other:
                raise AssertionError(f"{type(other).__name__} where a line was expected")
