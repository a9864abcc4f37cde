"""The framer: octets in, lines out, each read with a limit."""

from protocols.pop3.wire.command import BadCommand
from protocols.wire.buffer import LineTooLong, ReceiveBuffer

# RFC 2449 §4: commands have at most 255 octets, CRLF counted. A longer password can be sent by AUTH.
MAX_LINE = 255


class Lines:
    """Holds what one `feed` brought and at most one unfinished line."""

    __slots__ = ("_buffer", "_fault")

    def __init__(self) -> None:
        self._buffer = ReceiveBuffer()
        self._fault = ""  # of the line that is being skipped

    def feed(self, data: bytes) -> None:
        self._buffer.feed(data)

    def discard(self) -> None:
        """Forgets everything (STLS: nothing that came in plaintext is acted on after it)."""
        self._buffer.clear()
        self._fault = ""

    def next(self, limit: int = MAX_LINE) -> bytes | None:
        """The next line without its CRLF; None when more octets are needed.

        Args:
            limit: octets, CRLF included.

        Raises:
            BadCommand: the line is too long, or has a bare CR or LF. It is used up to its CRLF.
        """
        if not self._fault:
            try:
                line = self._buffer.next_line(limit)
            except LineTooLong:
                self._fault = "Line too long"
            else:
                if line is None:
                    return None
                if line.endswith(b"\r\n"):
                    return _whole(line[:-2])
                # A line feed alone must not end a command that another program took for part of a longer line.
                self._fault = "Lines end with CRLF"
        if self._buffer.skip_line() is None:
            return None
        fault, self._fault = self._fault, ""
        raise BadCommand(fault)


def _whole(line: bytes) -> bytes:
    if b"\r" in line:
        raise BadCommand("Lines end with CRLF")
    return line
