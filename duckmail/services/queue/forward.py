"""Mail that goes on to other addresses, through the queue: of addresses that only forward, and of accounts.

The envelope sender stays what it is: this is an alias, and failures concern who wrote (RFC 5321 §3.9.1).
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime

from duckmail.mime.header import Lookup
from duckmail.mime.headerblock import block_of
from duckmail.model.envelope import Envelope, Recipient
from duckmail.model.message import Content
from duckmail.model.queue import Notify, Origin, OutboundEnvelope, QueueRecipient
from duckmail.services.queue.queue import NewMail

# RFC 5321 §6.3: a loop is found by its Received lines; every round adds one.
MOST_RECEIVED = 30
# A shorter way to find one: what an account or address has sent on says so, by a mark that only this server makes.
SEEN = b"X-Duckmail-Forwarded"


class Forwarding:
    """`hostname`: in Received."""

    def __init__(self, hostname: str) -> None:
        self._hostname = hostname

    def circles(self, raw: bytes | bytearray, owner: str) -> bool:
        """Whether the message has been sent on by `owner`, or many times by others."""
        header = Lookup(block_of(raw))
        if self._mark(owner) in (value.strip() for value in header.all(SEEN.lower())):
            return True
        return sum(1 for _ in header.spans(b"received")) >= MOST_RECEIVED

    def mail(
        self,
        envelope: Envelope,
        recipient: Recipient,
        raw: bytes | bytearray,
        content: Content,
        targets: Sequence[str],
        *,
        user: str = "",
        lines: bytes = b"",
    ) -> NewMail:
        """What goes into the queue. `targets`: mail addresses, and URLs. `user`: the account that sends it. `lines`:
        what was found out about it."""
        addresses = [target for target in targets if "://" not in target]
        # Of a success, as far as it is known here, the sender is told where the message came in.
        notify = recipient.notify & ~Notify.SUCCESS
        recipients = [QueueRecipient(target, notify) for target in addresses]
        recipients += [QueueRecipient(recipient.address, notify, via=target) for target in targets if "://" in target]
        named = (envelope.sender, *(each.address for each in recipients))
        return NewMail(
            user=user,
            origin=Origin.FORWARD,
            envelope=OutboundEnvelope(
                envelope.sender,
                body=envelope.body if envelope.body == "BINARYMIME" else "7BIT" if raw.isascii() else "8BITMIME",
                smtputf8=envelope.smtputf8 or not all(address.isascii() for address in named),
                # RFC 8689 §6: what the sender required of the way holds for the rest of it.
                requiretls=envelope.requiretls,
            ),
            recipients=recipients,
            content=content,
            vouched=envelope.vouched,
            prefix=self._received(envelope, recipient) + lines + SEEN + b": " + self._mark(recipient.account) + b"\r\n",
        )

    def _mark(self, owner: str) -> bytes:
        return (
            hashlib.sha256(b"\0".join((b"forwarded", self._hostname.encode(), owner.encode())))
            .hexdigest()[:32]
            .encode()
        )

    def _received(self, envelope: Envelope, recipient: Recipient) -> bytes:
        """RFC 5321 §4.4."""
        with_ = f" with {envelope.protocol}" if envelope.protocol != "queue" else ""
        now = format_datetime(datetime.now(UTC))
        return f"Received: by {self._hostname}{with_}\r\n\tfor <{recipient.address}>; {now}\r\n".encode()
