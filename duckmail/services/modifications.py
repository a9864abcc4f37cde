"""What becomes of a message as it is submitted: what is added and taken out, what it needs of the next server."""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime

from duckmail.errors import InvalidInput
from duckmail.mime import outgoing
from duckmail.mime.outgoing import Malformed, Outgoing
from duckmail.model.queue import OutboundEnvelope, QueueRecipient
from duckmail.runtime.threads import Pool

INLINE = 64 * 1024  # octets of a message that is read on the event loop; larger ones in a thread (H7)

_DROPPED = frozenset({b"bcc", b"resent-bcc", b"return-path"})


class Modifications:
    """Those of RFC 6409 §8. `hostname`: in Message-IDs."""

    def __init__(self, pool: Pool, hostname: str) -> None:
        self._pool = pool
        self._hostname = hostname

    async def read(self, raw: bytes | bytearray) -> Outgoing:
        """Raises: InvalidInput: it cannot be sent as it is."""
        try:
            return outgoing.read(raw) if len(raw) <= INLINE else await self._pool.run(outgoing.read, raw)
        except Malformed as error:
            raise InvalidInput(str(error)) from None

    async def edited(
        self, raw: bytes | bytearray, message: Outgoing, replaced: dict[bytes, bytes]
    ) -> bytes | bytearray:
        """With Date and Message-ID, without what recipients are not told. `replaced`: other lines, by field name."""
        drop, add = set(_DROPPED), b""
        if not any(message.bodies(b"date")):
            drop.add(b"date")
            add += f"Date: {format_datetime(datetime.now(UTC))}\r\n".encode()
        if identifier := self.identified(message):
            drop.add(b"message-id")
            add += identifier
        if len(raw) <= INLINE:
            return outgoing.edit(raw, message, frozenset(drop), replaced, add)
        return await self._pool.run(outgoing.edit, raw, message, frozenset(drop), replaced, add)

    def identified(self, message: Outgoing) -> bytes:
        """RFC 6409 §8.3: the line of a Message-ID where there is none, else nothing."""
        if any(message.bodies(b"message-id")):
            return b""
        return f"Message-ID: <{uuid.uuid4()}@{self._hostname}>\r\n".encode()


def needed(
    envelope: OutboundEnvelope,
    sender: str,
    recipients: Sequence[QueueRecipient],
    message: Outgoing,
    replaced: dict[bytes, bytes],
) -> OutboundEnvelope:
    """The envelope with what the octets need of the next server, whatever the client announced.

    RFC 6531 §3.4: SMTPUTF8 is for non-ASCII addresses and header fields; a client may ask for it in vain, and servers
    without it need not be kept from an ASCII message.
    """
    lines = b"".join(replaced.values())
    plain = message.ascii and lines.isascii()
    named = sender.isascii() and all(recipient.address.isascii() for recipient in recipients)
    wanted = envelope.smtputf8 or not lines.isascii()
    return replace(
        envelope,
        sender=sender,
        body="7BIT" if plain else "8BITMIME",
        smtputf8=not named or (wanted and not plain),
    )
