"""The header block of a message that nobody has parsed yet, as far as it is looked at.

Raw octets with CRLF line ends; what is longer than `HEADER_LIMIT` is cut there.
"""

from duckmail.mime.header import Lookup, decode

HEADER_LIMIT = 256 * 1024  # octets searched
_IDENTIFIED = 16 * 1024  # octets of a header in which the Message-ID of what is refused is looked for


def block_of(raw: bytes | bytearray) -> bytes:
    """The header block, as far as it is looked at."""
    end = raw.find(b"\r\n\r\n", 0, HEADER_LIMIT)
    return bytes(raw[: end if end >= 0 else HEADER_LIMIT])


def header_of(raw: bytes | bytearray) -> bytes:
    """The header block in lower case, with a line end ahead of each field: where to find what there is of one."""
    return b"\r\n" + block_of(raw).lower()


def message_id_of(raw: bytes | bytearray) -> str:
    """Of a message that nobody has read: "" if it is not found quickly."""
    return decode(Lookup(block_of(raw)[:_IDENTIFIED]).first(b"message-id") or b"")
