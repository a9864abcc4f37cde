"""What has arrived and is not used yet, given out as command lines or to a reader of message octets."""

from typing import Protocol

from protocols.smtp.wire.reply import CommandError

# RFC 5321 §4.5.3.1.4 says 512 octets, more for extensions; SMTPUTF8 and DSN parameters (RFC 3461 §5) need the most.
MAX_COMMAND_LINE = 2048


class BodyReader(Protocol):
    """Takes message octets until it knows that they end."""

    done: bool

    def feed(self, data: bytes, start: int = 0) -> int:
        """Takes octets from `start` on; gives the position behind the last octet that belongs to the message."""
        ...


class Receiver:
    """A buffer of received octets; holds what one `feed` brought and at most one unfinished line.

    Args:
        limit: octets of a command line, CRLF counted.
    """

    def __init__(self, limit: int = MAX_COMMAND_LINE) -> None:
        self._limit = limit
        self._buffer = b""
        self._position = 0
        self._skipping = False

    def feed(self, data: bytes) -> None:
        """Adds what has arrived."""
        self._buffer = self._buffer[self._position :] + data if self._position < len(self._buffer) else data
        self._position = 0

    def discard(self) -> None:
        """Forgets everything (STARTTLS: nothing that came in plaintext is acted on after it)."""
        self._buffer, self._position, self._skipping = b"", 0, False

    def line(self) -> bytes | None:
        """The next command line without its CRLF; None when more octets are needed.

        Raises:
            CommandError: the line is too long or holds a bare CR or LF. It is used up.
        """
        end = self._buffer.find(b"\r\n", self._position)
        if end < 0:
            self._hold_or_skip()
            return None
        line = self._buffer[self._position : end]
        self._position = end + 2
        if self._skipping or len(line) + 2 > self._limit:
            self._skipping = False
            raise CommandError(500, "5.5.2", "Command line too long")
        # RFC 5321 §2.3.8: CR and LF only together. `\n` inside a "line" is how commands are smuggled past a relay.
        if b"\r" in line or b"\n" in line:
            raise CommandError(500, "5.5.2", "Bare CR or LF in a command")
        return line

    def _hold_or_skip(self) -> None:
        rest = len(self._buffer) - self._position
        if rest >= self._limit or self._skipping:
            # The line is too long whatever follows: keep only a CR, whose LF may be next.
            self._skipping = True
            self._position += rest - 1 if self._buffer.endswith(b"\r") and rest else rest

    def read_into(self, reader: BodyReader) -> bool:
        """Gives the reader what it takes; true when its message octets are complete."""
        if not reader.done and self._position < len(self._buffer):
            self._position = reader.feed(self._buffer, self._position)
        return reader.done
