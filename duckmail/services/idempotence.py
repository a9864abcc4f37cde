"""When equal octets are the same message, so that what a relay sends again is stored once (DESIGN §5 Delivery)."""

import hashlib
import re

from duckmail.model.envelope import Envelope
from duckmail.runtime.threads import Pool

HASH_INLINE = 64 * 1024  # octets; more is hashed in a thread
_RECEIVED_ID = re.compile(rb"[\s)]id\s+[^\s;]")


async def envelope_digest(envelope: Envelope, raw: bytes | bytearray, header: bytes, pool: Pool) -> bytes:
    """Names the message; b"" when equal octets need not be the same message. `header`: of `header_of`."""
    if envelope.key:
        return hashlib.sha256(envelope.key).digest()
    if not envelope.ident and not identifies_itself(header):
        return b""
    return await octets_digest(raw, pool)


async def octets_digest(raw: bytes | bytearray, pool: Pool) -> bytes:
    """The SHA-256 of the octets."""
    if len(raw) <= HASH_INLINE:
        return hashlib.sha256(raw).digest()
    return await pool.run(lambda: hashlib.sha256(raw).digest())


def delivery_key(account: str, sender: str, digest: bytes) -> bytes:
    """The idempotence key: equal for the same octets from the same sender to the same account."""
    return hashlib.sha256(b"\0".join((account.encode(), sender.encode(), digest))).digest()


def identifies_itself(header: bytes) -> bool:
    """Whether equal octets are the same message: a Message-ID, or an id in the top Received line.

    `header`: of `duckmail.mime.headerblock.header_of`.
    """
    if (found := header.find(b"\r\nmessage-id:")) >= 0 and _value(header, found):
        return True
    received = header.find(b"\r\nreceived:")
    return received >= 0 and _RECEIVED_ID.search(_value(header, received)) is not None


def _value(header: bytes, start: int) -> bytes:
    """The value of the field whose line break is at `start`, unfolded, without surrounding white space."""
    begin = header.find(b":", start) + 1
    end = header.find(b"\r\n", begin)
    while end >= 0 and header[end + 2 : end + 3] in {b" ", b"\t"}:
        end = header.find(b"\r\n", end + 2)
    return header[begin : end if end >= 0 else len(header)].strip()
