"""The message as it is stored: with our Received line, without what somebody has forged in our name."""

import re

from duckmail.mime.header import Lookup, decode
from duckmail.mime.headerblock import HEADER_LIMIT, block_of

MAX_VALUE = 8192  # octets of one field that are looked at
_COMMENT = re.compile(r"\([^()]*\)")
_SERVER = re.compile(r"\s*\"?([^\s;\"/]*)")
_RECEIVER = re.compile(r"\breceiver\s*=\s*\"?([^\s;\"]*)", re.IGNORECASE)


def readable(raw: bytes | bytearray) -> bool:
    """Whether the header section ends within what is looked at, and every line of it with CRLF: what follows could
    else be read in two ways."""
    if len(raw) > HEADER_LIMIT and raw.find(b"\r\n\r\n", 0, HEADER_LIMIT) < 0:
        return False
    block = block_of(raw)
    return block.count(b"\r\n") == block.count(b"\r") == block.count(b"\n")


def cleaned(raw: bytes | bytearray, received: bytes, server: str) -> bytes | bytearray:
    """The message with `received` on top, without the fields that speak as `server` (authserv-id).

    Args:
        raw: is used up: a bytearray is changed in place, since it may be large.
    """
    block = bytes(raw[: len(block_of(raw)) + 2])  # with the end of its last line
    forged = sorted(_forged(Lookup(block), server.lower()))
    pieces, kept = [received], 0
    for start, end in forged:
        pieces.append(block[kept:start])
        kept = end
    if isinstance(raw, bytearray):
        raw[:kept] = b"".join(pieces)
        return raw
    return b"".join(pieces) + raw[kept:]


def _forged(header: Lookup, server: str) -> list[tuple[int, int]]:
    """Where they are. RFC 8601 §5: a field from outside that has our name is removed."""
    found = []
    for name, pattern in ((b"authentication-results", _SERVER), (b"received-spf", _RECEIVER)):
        for start, body, end in header.spans(name):
            value = _COMMENT.sub(" ", decode(header.block[body:end][:MAX_VALUE].replace(b"\r\n", b"")))
            match = pattern.search(value)
            if match is not None and match[1].lower().removesuffix(".") == server:
                found.append((start, end))
    return found
