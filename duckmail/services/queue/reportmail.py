"""Reports of this server to other domains, into the queue."""

import hashlib

from duckmail.model.queue import Notify, Origin, OutboundEnvelope, QueueRecipient
from duckmail.services.queue.queue import NewMail, Queue
from storage.store import Store


async def post(store: Store, queue: Queue, identifier: str, to: str, raw: bytes) -> None:
    """Once for each `identifier` and address. Raises: Unavailable."""
    content = await store.contents.prepare(raw)
    # The null sender: what cannot be delivered is told to nobody.
    recipients = [QueueRecipient(to, Notify.NEVER)]
    key = hashlib.sha256(f"{identifier} {to}".encode()).digest()
    await queue.submit(NewMail("", Origin.REPORT, OutboundEnvelope(""), recipients, content, key=key))
