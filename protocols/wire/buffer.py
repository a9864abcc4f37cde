"""The receive buffer of the line protocols: linear line search, limits as arguments."""

TAIL = 32
"""Octets before the line end that `ReceiveBuffer.skip_line` gives back: room for an IMAP literal announcement."""


class LineTooLong(Exception):
    """No line end within the limit. Nothing was consumed; go on with `ReceiveBuffer.skip_line`."""


class ReceiveBuffer:
    """Octets received and not yet used.

    `bytearray` gives octets up at its front without moving the rest, so taking a line costs its length only. The
    place up to which a line end was looked for is remembered: a peer that sends one octet at a time costs no more
    than one that sends them all (as in h11's receive buffer, the threat is a slow writer of one long line).
    """

    __slots__ = ("_data", "_searched")

    def __init__(self) -> None:
        self._data = bytearray()
        self._searched = 0

    def __len__(self) -> int:
        return len(self._data)

    def feed(self, data: bytes) -> None:
        self._data += data

    def clear(self) -> None:
        self._data.clear()
        self._searched = 0

    def peek(self, count: int) -> bytes:
        """At most `count` octets from the front; they stay."""
        return bytes(self._data[:count])

    def take(self, count: int) -> bytes:
        """At most `count` octets from the front."""
        data = bytes(self._data[:count])
        self._remove(count)
        return data

    def drop(self, count: int) -> int:
        """Drops at most `count` octets; how many it were."""
        dropped = min(count, len(self._data))
        self._remove(dropped)
        return dropped

    def next_line(self, limit: int) -> bytes | None:
        """The next line up to and with its LF, whatever stands before the LF; None when it is not here yet.

        Args:
            limit: octets, line end included.

        Raises:
            LineTooLong: the first `limit` octets hold no LF.
        """
        end = self._data.find(b"\n", self._searched, limit)
        if end >= 0:
            return self.take(end + 1)
        self._searched = min(len(self._data), limit)
        if len(self._data) >= limit:
            raise LineTooLong
        return None

    def skip_line(self) -> bytes | None:
        """Drops everything through the next CRLF; a bare LF does not end the line here.

        Returns:
            The last `TAIL` octets before the CRLF, or None when the CRLF has not come; then call again after feeding.
        """
        end = self._data.find(b"\r\n", max(0, self._searched - 1))
        if end < 0:
            self._remove(len(self._data) - TAIL - 1)
            self._searched = len(self._data)
            return None
        tail = bytes(self._data[max(0, end - TAIL) : end])
        self._remove(end + 2)
        return tail

    def _remove(self, count: int) -> None:
        if count > 0:
            del self._data[:count]
            self._searched = 0
