"""What senders are told of mail that was taken: failures that nobody else will tell them of, and successes that they
asked for (RFC 3461)."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from duckmail.mime import dsn
from duckmail.mime.dsn import Action, Entry
from duckmail.mime.headerblock import block_of
from duckmail.model.message import Content
from duckmail.model.queue import Notify, Origin, OutboundEnvelope, QueueRecipient
from duckmail.services.queue.queue import NewMail, Queue
from duckmail.services.queue.reports import LARGEST_ORIGINAL


class Contents(Protocol):
    """What is needed of `storage.contents.Contents`."""

    async def prepare(self, raw: bytes | bytearray, /) -> Content: ...


@dataclass(frozen=True, slots=True)
class Concern:
    """The message that is told of. `raw`: as it came, `key`: its octets' hash, for no notice to be sent twice."""

    envelope: OutboundEnvelope
    raw: bytes | bytearray
    key: bytes


class Notices:
    """`hostname`: who reports."""

    def __init__(self, queue: Queue, contents: Contents, hostname: str) -> None:
        self._queue = queue
        self._contents = contents
        self._hostname = hostname

    async def tell(self, concern: Concern, action: Action, entries: Sequence[Entry]) -> None:
        """Queues the notice, durably. Raises: Unavailable, CommitUnknown, InvalidInput."""
        envelope, raw = concern.envelope, concern.raw
        # RFC 3461 §4.3: RET is about failures; a notice of success has the header alone.
        full = action is Action.FAILED and envelope.ret == "FULL" and len(raw) <= LARGEST_ORIGINAL
        # As in `queue.reports`: what cannot be sent by DATA, or wants the way proved, is not sent back whole.
        full = full and envelope.body != "BINARYMIME" and not envelope.requiretls
        now = datetime.now(UTC)
        built = dsn.build(
            dsn.Report(
                hostname=self._hostname,
                to=envelope.sender,
                entries=entries,
                arrived=now,
                now=now,
                unique=secrets.token_hex(12),
                original=bytes(raw) if full else block_of(raw).removesuffix(b"\r\n") + b"\r\n",
                full=full,
                envid=envelope.envid,
                smtputf8=envelope.smtputf8,
            )
        )
        await self._queue.submit(
            NewMail(
                user="",
                origin=Origin.REPORT,
                # RFC 3461 §6.1: the null sender, and NOTIFY=NEVER.
                envelope=OutboundEnvelope("", built.body, built.smtputf8, requiretls=envelope.requiretls),
                recipients=[QueueRecipient(envelope.sender, Notify.NEVER)],
                content=await self._contents.prepare(built.octets),
                key=_key(concern, action, entries),
            )
        )


def _key(concern: Concern, action: Action, entries: Sequence[Entry]) -> bytes:
    told = "\0".join((concern.envelope.sender, action.value, *(entry.address for entry in entries)))
    return hashlib.sha256(b"notice\0" + concern.key + told.encode()).digest()
