"""Responses: a status line, and the octets of a multi-line response (RFC 1939 §3)."""

import re

MAX_STATUS = 512  # octets of the first line, CRLF counted (RFC 2449 §4)
_UNPRINTABLE = re.compile("[^ -~]")


def status(positive: bool, text: str, code: str = "") -> bytes:
    """`+OK text` or `-ERR [code] text`, with CRLF; what is not printable ASCII is replaced, so no text adds a line.

    Args:
        code: an extended response code without its brackets (RFC 2449 §8), or "".
    """
    words = ("+OK" if positive else "-ERR", f"[{code}]" if code else "", text)
    line = " ".join(word for word in words if word)
    return _UNPRINTABLE.sub("?", line)[: MAX_STATUS - 2].encode("ascii") + b"\r\n"


class Stuffing:
    """Makes the octets of a message, which come in pieces, into those of a multi-line response.

    They go out as they are stored, and what stands in them does not end the response:

    - A dot that begins a line is doubled (RFC 1939 §3), also behind a line feed alone. Most clients read up to a line
      feed and would take `LF . CRLF` for the end, and what follows for our next response; a strict one sees a second
      dot there. Such messages are refused at delivery, but APPEND takes them.
    - Octets that do not end with CRLF get one before the final dot: one of the two ends is always the message's own,
      and no octet of it is changed.
    """

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b"\r\n"  # the last two octets: the status line ended just before

    def feed(self, piece: bytes) -> bytes:
        """What to send for the next octets."""
        if not piece:
            return b""
        first = b"." if piece.startswith(b".") and self._tail.endswith(b"\n") else b""
        self._tail = (self._tail + piece[-2:])[-2:]
        return first + piece.replace(b"\n.", b"\n..")

    def end(self) -> bytes:
        """What ends the response."""
        return b".\r\n" if self._tail == b"\r\n" else b"\r\n.\r\n"
