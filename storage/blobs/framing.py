"""base64 as mail writes it: decoded for storage, and encoded again octet by octet as it came.

Pure. `Framing` says how the encoded characters were broken into lines; positions are octets of the encoded text.
"""

import binascii
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

import pybase64

from storage.blobs.files import CHUNK

# RFC 5322 §2.1.1: no line is longer than 998 characters. One single line without an end may be of any length.
MAX_LINE = 998
_LOOK_BACK = 1024
_LINES_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Framing:
    """`line`: characters per line, 0 when all stand on one line. `eol`: octets of a line end: 2 CRLF, 1 LF."""

    line: int
    eol: int

    @property
    def stride(self) -> int:
        return self.line + self.eol

    @property
    def newline(self) -> bytes:
        return b"\r\n" if self.eol == 2 else b"\n"

    def characters(self, length: int) -> int:
        """The base64 characters among the first `length` octets of the encoded text."""
        if not self.line:
            return length
        lines, rest = divmod(length, self.stride)
        return lines * self.line + min(rest, self.line)

    def offset(self, characters: int) -> int:
        """The octets of encoded text that hold exactly the first `characters`, without a line end after them."""
        if not self.line or not characters:
            return characters
        return characters + (characters - 1) // self.line * self.eol


@dataclass(frozen=True, slots=True)
class Core:
    """What of a base64 body can be stored decoded: its octets `start` to `stop`, hash and length of the decoded."""

    start: int
    stop: int
    framing: Framing
    sha256: bytes
    length: int


def find_core(raw: bytes | bytearray, start: int, stop: int) -> Core | None:
    """The regularly framed base64 within `raw[start:stop]`, proved by encoding it again; None when there is none.

    Line ends before and blanks after it stay outside. CPU: about 2 ms per MiB; run in a thread when large.
    """
    while start < stop and raw[start] in b"\r\n":
        start += 1
    tail = bytes(raw[max(start, stop - _LOOK_BACK) : stop])
    stop -= len(tail) - len(tail.rstrip(b"\r\n\t "))
    framing = _guess(raw, start, stop)
    if framing is None:
        return None
    characters = framing.characters(stop - start)
    if not characters or characters % 4 or framing.offset(characters) != stop - start:
        return None
    digest = sha256()
    length = 0
    encoder = Encoder(framing)
    position = start
    try:
        for piece in decoded_pieces(raw, start, stop, framing):
            digest.update(piece)
            length += len(piece)
            encoded = encoder.feed(piece)
            if not raw.startswith(encoded, position, stop):
                return None
            position += len(encoded)
    except binascii.Error:
        return None
    encoded = encoder.finish()
    if position + len(encoded) != stop or not raw.startswith(encoded, position, stop):
        return None
    return Core(start, stop, framing, digest.digest(), length)


def _guess(raw: bytes | bytearray, start: int, stop: int) -> Framing | None:
    """The framing of the first line; the proof covers the others."""
    end = raw.find(b"\n", start, min(stop, start + MAX_LINE + 2))
    if end < 0:
        one_line = raw.find(b"\n", start, stop) < 0
        return Framing(0, 0) if one_line else None
    eol = 2 if end > start and raw[end - 1] == 0x0D else 1
    line = end + 1 - eol - start
    return Framing(line, eol) if 0 < line <= MAX_LINE else None


def decoded_pieces(raw: bytes | bytearray, start: int, stop: int, framing: Framing) -> Iterator[bytes]:
    """The decoded octets in pieces of CHUNK, the last one shorter. Without a proof by `find_core` they mean nothing."""
    step = CHUNK // 3 * 4
    total = framing.characters(stop - start)
    for first in range(0, total, step):
        low = start + framing.offset(first)
        high = start + framing.offset(min(first + step, total))
        # Not validating, so that line ends are skipped; anything else that was skipped fails the proof.
        piece: bytes = pybase64.b64decode(raw[low:high])
        yield piece


class Encoder:
    """Decoded octets in, framed base64 out; pieces may be cut anywhere.

    The output starts at the start of a line, after dropping the first `drop` characters.
    """

    def __init__(self, framing: Framing, drop: int = 0) -> None:
        self._framing = framing
        self._drop = drop
        self._octets = b""  # 0 to 2 octets that do not make four characters yet
        self._characters = b""  # the start of a line that is not complete
        self._first = True

    def feed(self, piece: bytes) -> bytes:
        """All complete lines; the end of a line comes with the next one. All there is when lines have no end."""
        octets = self._octets + piece if self._octets else piece
        whole = len(octets) - len(octets) % 3
        self._octets = octets[whole:]
        return self._lines(pybase64.b64encode(octets[:whole] if self._octets else octets))

    def finish(self) -> bytes:
        """What is left: padding, and the last line."""
        text = self._lines(pybase64.b64encode(self._octets))
        rest, self._octets, self._characters = self._characters, b"", b""
        return text + self._join([rest]) if rest else text

    def _lines(self, encoded: bytes) -> bytes:
        if self._drop:
            dropped = min(self._drop, len(encoded))
            encoded = encoded[dropped:]
            self._drop -= dropped
        line = self._framing.line
        if not line:
            return encoded
        characters = self._characters + encoded
        full = len(characters) // line * line
        self._characters = characters[full:]
        return self._join(_split(characters, line, full)) if full else b""

    def _join(self, lines: list[bytes]) -> bytes:
        newline = self._framing.newline
        text = newline.join(lines)
        if self._first:
            self._first = False
            return text
        return newline + text


@lru_cache(maxsize=256)
def _splitter(line: int) -> struct.Struct:
    return struct.Struct(f"{line}s" * _LINES_AT_ONCE)


def _split(characters: bytes, line: int, stop: int) -> list[bytes]:
    """`characters[:stop]` in lines. struct does it five times faster than slices do."""
    splitter = _splitter(line)
    batch = stop // splitter.size * splitter.size
    lines: list[bytes] = []
    for many in splitter.iter_unpack(memoryview(characters)[:batch]):
        lines.extend(many)
    lines.extend([characters[start : start + line] for start in range(batch, stop, line)])
    return lines


@dataclass(frozen=True, slots=True)
class Span:
    """How to make a range of the encoded text: feed the decoded octets `start` to `stop` to `encoder`, then cut off the
    first `skip` octets of its output (and whatever exceeds the range)."""

    start: int
    stop: int
    encoder: Encoder
    skip: int


def span(framing: Framing, length: int, start: int, stop: int) -> Span:
    """For the octets `start` to `stop` of the encoded text of `length` decoded octets."""
    if framing.line:
        lines = start // framing.stride
        first = lines * framing.line
        skip = start - lines * framing.stride
    else:
        first = start
        skip = 0
    last = framing.characters(stop)
    if framing.line and not 0 < stop % framing.stride <= framing.line:
        last += 1  # the range ends within or behind a line end, which comes only with the next line
    aligned = first // 4 * 4
    end = -(-last // 4) * 3
    return Span(aligned // 4 * 3, min(end, length), Encoder(framing, first - aligned), skip)
