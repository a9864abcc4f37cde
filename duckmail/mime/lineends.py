"""Line ends as they go over the wire: what is signed and what is sent read them through the same eyes."""

import re

_LINE_END = re.compile(rb"\r\n|\r|\n")


class LineEnds:
    """Makes a CR or LF alone CRLF, piece by piece (RFC 5321 §2.3.8 forbids to send them)."""

    def __init__(self) -> None:
        self._at_line_start = True
        self._held_cr = False

    def feed(self, piece: bytes) -> bytes:
        """The octets for the wire; a CR at the end is held back, since its LF may be the next octet."""
        if not piece:
            return b""
        if self._held_cr:
            piece = b"\r" + piece
        self._held_cr = piece.endswith(b"\r")
        lines = _with_crlf(piece[:-1] if self._held_cr else piece)
        if lines:
            self._at_line_start = lines.endswith(b"\n")
        return lines

    def finish(self) -> bytes:
        """What ends the last line, if it has no end."""
        return b"\r\n" if self._held_cr or not self._at_line_start else b""


def _with_crlf(octets: bytes) -> bytes:
    # Three counts are several times faster than the substitution, which nearly no message needs.
    if octets.count(b"\r") == octets.count(b"\n") == octets.count(b"\r\n"):
        return octets
    return _LINE_END.sub(b"\r\n", octets)
