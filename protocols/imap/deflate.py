"""COMPRESS=DEFLATE (RFC 4978): both directions of a connection, bounded in memory; no I/O."""

import zlib

INFLATED = 64 * 1024  # octets made of compressed ones before they are looked at: a bomb is never unpacked whole
LEVEL = 1  # 256 KiB of text in some 2 ms: the loop waits for it
WINDOW = -13  # raw deflate (RFC 4978 §3), 8 KiB of window: with MEMORY 64 KiB for a connection
MEMORY = 6
LARGEST_WINDOW = -15  # what the client may use
# RFC 1951 §3.2.4: a stored block without octets, as every flush ends with one; more of them behind it say nothing more.
NOTHING = b"\x00\x00\x00\xff\xff"


class BadStream(Exception):
    """What the client sends is no deflate stream, or has ended."""


class Deflate:
    """What the server says."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj(LEVEL, zlib.DEFLATED, WINDOW, MEMORY)
        self._added = self._given = 0  # octets since the last flush

    def add(self, data: bytes) -> bytes:
        octets = self._stream.compress(data)
        self._added += len(data)
        self._given += len(octets)
        return octets

    def flush(self, *, filled: bool = False) -> bytes:
        """What is still held back: after it the client can read all that was added.

        Args:
            filled: what was given since the last flush gets at least as long as what was added.
        """
        if not self._added:
            return b""
        octets = self._stream.flush(zlib.Z_SYNC_FLUSH)
        short = self._added - self._given - len(octets) if filled else 0
        self._added = self._given = 0
        return octets + NOTHING * -(-short // len(NOTHING))


class Inflate:
    """What the client says: `feed`, then `take` until it gives nothing."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(LARGEST_WINDOW)
        self._waiting = b""
        self._full = False  # the last octets taken were as many as allowed: there may be more without new input

    def feed(self, data: bytes) -> None:
        self._waiting += data

    def take(self) -> bytes:
        """At most `INFLATED` octets. Raises: BadStream."""
        while self._waiting or self._stream.unconsumed_tail or self._full:
            data = self._stream.unconsumed_tail + self._waiting
            self._waiting = b""
            try:
                found = self._stream.decompress(data, INFLATED)
            except zlib.error:
                raise BadStream from None
            self._full = len(found) == INFLATED
            if found:
                return found
            if self._stream.eof:
                raise BadStream
        return b""
