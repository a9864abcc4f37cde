"""Mail for an address that only forwards: it goes on to other addresses, through the queue.

The envelope sender stays what it is: this is an alias, and failures concern who wrote (RFC 5321 §3.9.1).
"""

from datetime import UTC, datetime
from email.utils import format_datetime

from duckmail.errors import InvalidInput
from duckmail.mime.header import Lookup
from duckmail.model.envelope import Envelope, Recipient
from duckmail.model.message import Content
from duckmail.model.queue import Origin, OutboundEnvelope, QueueRecipient
from duckmail.services.queue.queue import NewMail, Queue

# RFC 5321 §6.3: a loop is found by its Received lines; every round adds one.
MOST_RECEIVED = 30
HEADER_LIMIT = 256 * 1024  # octets in which they are counted


class Forwarding:
    """Satisfies `duckmail.services.delivery.Forwarder`. `hostname`: in Received."""

    def __init__(self, queue: Queue, hostname: str) -> None:
        self._queue = queue
        self._hostname = hostname

    async def forward(
        self, envelope: Envelope, recipient: Recipient, raw: bytes | bytearray, content: Content, key: bytes | None
    ) -> None:
        """Raises: InvalidInput: it goes round in circles, or an address cannot be sent. Unavailable, CommitUnknown."""
        end = raw.find(b"\r\n\r\n", 0, HEADER_LIMIT)
        header = bytes(raw[: end if end >= 0 else HEADER_LIMIT])
        if sum(1 for _ in Lookup(header).spans(b"received")) >= MOST_RECEIVED:
            raise InvalidInput("Too many Received lines: it goes round in circles")
        named = (envelope.sender, *recipient.targets)
        mail = NewMail(
            user="",
            origin=Origin.FORWARD,
            envelope=OutboundEnvelope(
                envelope.sender,
                body=envelope.body if envelope.body == "BINARYMIME" else "7BIT" if raw.isascii() else "8BITMIME",
                smtputf8=envelope.smtputf8 or not all(address.isascii() for address in named),
            ),
            recipients=[QueueRecipient(target) for target in recipient.targets],
            content=content,
            prefix=self._received(envelope, recipient),
            key=key,
        )
        await self._queue.submit(mail)

    def _received(self, envelope: Envelope, recipient: Recipient) -> bytes:
        """RFC 5321 §4.4."""
        with_ = f" with {envelope.protocol}" if envelope.protocol != "queue" else ""
        now = format_datetime(datetime.now(UTC))
        return f"Received: by {self._hostname}{with_}\r\n\tfor <{recipient.address}>; {now}\r\n".encode()
