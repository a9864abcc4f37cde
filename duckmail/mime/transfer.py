"""Content-Transfer-Encodings undone, in pieces of bounded size (RFC 2045 §6)."""

from binascii import a2b_qp
from collections.abc import Iterator

from duckmail.mime.base64 import ALPHABET, base64_octets
from duckmail.mime.message import Buffer

PIECE = 65536
"""Octets of a body that are taken at once; what comes out is never longer."""

_NOT_BASE64 = bytes(set(range(256)) - set(ALPHABET + b"="))


def decoded(raw: Buffer, start: int, end: int, encoding: str) -> Iterator[bytes]:
    """The octets of [start, end) with their transfer encoding undone; an encoding that is not known changes nothing."""
    if encoding == "base64":
        return _base64(raw, start, end)
    if encoding == "quoted-printable":
        return _quoted_printable(raw, start, end)
    return _identity(raw, start, end)


def _identity(raw: Buffer, start: int, end: int) -> Iterator[bytes]:
    for at in range(start, end, PIECE):
        yield bytes(raw[at : min(at + PIECE, end)])


def _base64(raw: Buffer, start: int, end: int) -> Iterator[bytes]:
    """Characters outside the alphabet are skipped (RFC 2045 §6.8); of several padded runs all are read."""
    digits = b""
    for piece in _identity(raw, start, end):
        *padded, digits = (digits + piece.translate(None, _NOT_BASE64)).split(b"=")
        octets = [base64_octets(run) for run in padded if run]
        whole = len(digits) & ~3
        octets.append(base64_octets(digits[:whole]))
        digits = digits[whole:]
        yield b"".join(octets)
    yield base64_octets(digits)


def _quoted_printable(raw: Buffer, start: int, end: int) -> Iterator[bytes]:
    at = start
    while at < end:
        stop = min(at + PIECE, end)
        if stop < end:
            # At a line end, so that a soft line break is not cut; else (no such line in mail) not inside "=XX".
            line = raw.rfind(b"\n", at, stop)
            escape = raw.rfind(b"=", stop - 2, stop)
            stop = line + 1 if line >= 0 else escape if escape > at else stop
        yield a2b_qp(bytes(raw[at:stop]))
        at = stop


class Decoder:
    """Undoes a transfer encoding of octets that come piece by piece."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._kept = b""

    def feed(self, octets: bytes) -> bytes:
        """What is certain so far."""
        if self._encoding == "base64":
            return self._base64(octets)
        if self._encoding == "quoted-printable":
            return self._quoted_printable(octets)
        return octets

    def finish(self) -> bytes:
        """The rest."""
        kept, self._kept = self._kept, b""
        if self._encoding == "base64":
            return base64_octets(kept)
        return a2b_qp(kept) if self._encoding == "quoted-printable" else kept

    def _base64(self, octets: bytes) -> bytes:
        *padded, digits = (self._kept + octets.translate(None, _NOT_BASE64)).split(b"=")
        whole = len(digits) & ~3
        self._kept = digits[whole:]
        return b"".join([*(base64_octets(run) for run in padded if run), base64_octets(digits[:whole])])

    def _quoted_printable(self, octets: bytes) -> bytes:
        octets = self._kept + octets
        stop = octets.rfind(b"\n") + 1
        if not stop and len(octets) > PIECE:
            # No such line in mail; cut anywhere but inside "=XX" and before what may be the blanks at its end.
            escape = octets.rfind(b"=", -2)
            stop = escape if escape > 0 else len(octets)
        self._kept = octets[stop:]
        return a2b_qp(octets[:stop])
