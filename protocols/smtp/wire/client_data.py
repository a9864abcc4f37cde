"""Message octets on their way out through DATA."""

from duckmail.mime.lineends import LineEnds


class DataWriter:
    """Doubles the dots that begin lines (RFC 5321 §4.5.2) and puts the end behind the last line, piece by piece.

    A CR or LF alone becomes CRLF: RFC 5321 §2.3.8 forbids to send them, and a server that takes one for a line end
    could be made to see the end of the data, and commands, inside the message.
    """

    def __init__(self) -> None:
        self._ends = LineEnds()
        self._at_line_start = True

    def feed(self, piece: bytes) -> bytes:
        """The octets for the wire; a CR at the end is held back, since its LF may be the next octet."""
        lines = self._ends.feed(piece)
        if not lines:
            return b""
        # Every LF stands behind its CR now.
        stuffed = lines.replace(b"\n.", b"\n..")
        if self._at_line_start and stuffed.startswith(b"."):
            stuffed = b"." + stuffed
        self._at_line_start = stuffed.endswith(b"\n")
        return stuffed

    def finish(self) -> bytes:
        """What ends the data; a last line without its end gets one."""
        return self._ends.finish() + b".\r\n"
