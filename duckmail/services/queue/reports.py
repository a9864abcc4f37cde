"""Reports to senders: what became of their mail, ready to be put into the queue like any other message."""

import secrets
from collections.abc import Sequence
from datetime import datetime

from duckmail.mime import dsn
from duckmail.mime.dsn import Action, Entry
from duckmail.model.queue import Notify, Origin, OutboundEnvelope, QueuedMessage, QueueRecipient, State
from duckmail.services.queue.schedule import EXPIRED, Schedule
from storage.mongo.client import Document
from storage.queuedocuments import new_document
from storage.store import Store

LARGEST_ORIGINAL = 1 << 20  # octets of a message that goes back whole

_TAKEN = {State.DELIVERED: Action.DELIVERED, State.RELAYED: Action.RELAYED}


class Reports:
    """Makes reports (RFC 3461 §6). `hostname`: who reports."""

    def __init__(self, store: Store, hostname: str, schedule: Schedule) -> None:
        self._store = store
        self._hostname = hostname
        self._schedule = schedule

    async def make(
        self, message: QueuedMessage, action: Action, recipients: Sequence[QueueRecipient], now: datetime
    ) -> Document | None:
        """The report about `recipients`, its content stored, for the commit that makes them what they are; None when
        there is nobody to tell.

        Raises: Unavailable.
        """
        # RFC 5321 §4.5.5: never about a message with the null sender, or reports would be answered by reports.
        if not recipients or not message.envelope.sender:
            return None
        original, full = await self._original(message, action)
        report = dsn.Report(
            hostname=self._hostname,
            to=message.envelope.sender,
            entries=[self._entry(message, action, recipient) for recipient in recipients],
            arrived=message.created,
            now=now,
            unique=secrets.token_hex(12),
            original=original,
            full=full,
            envid=message.envelope.envid,
            smtputf8=message.envelope.smtputf8,
            language=await self._language(message),
        )
        built = dsn.build(report)
        content = await self._store.contents.prepare(built.octets)
        await self._store.contents.insert_many([content])
        # RFC 3461 §6.1: the null sender, and NOTIFY=NEVER. RFC 8689 §5: a report asks for what its message asked for.
        envelope = OutboundEnvelope("", built.body, built.smtputf8, requiretls=message.envelope.requiretls)
        return new_document(
            user=message.user,
            origin=Origin.REPORT,
            envelope=envelope,
            recipients=[QueueRecipient(message.envelope.sender, Notify.NEVER)],
            content=content.id,
            size=content.size,
        )

    async def _language(self, message: QueuedMessage) -> str:
        """Of the account that wrote it; "" for what others wrote, and is only sent on."""
        if not message.user or message.origin is Origin.FORWARD:
            return ""
        found = await self._store.users.many([message.user])
        return found[message.user].language if message.user in found else ""

    def _entry(self, message: QueuedMessage, action: Action, recipient: QueueRecipient) -> Entry:
        action = _TAKEN.get(recipient.state, action)
        return Entry(
            recipient.address,
            action,
            recipient.status,
            recipient.reply,
            original=recipient.orcpt,
            host=recipient.host,
            tried=recipient.tried,
            until=self._schedule.ends(recipient, message.created) if action is Action.DELAYED else None,
            late=recipient.status == EXPIRED,
        )

    async def _original(self, message: QueuedMessage, action: Action) -> tuple[bytes, bool]:
        """What goes back of the message, and whether that is all of it."""
        found = await self._store.contents.load([message.content])
        content = found.get(message.content)
        if content is None:
            return message.prefix, False
        # RFC 3461 §4.3: RET=FULL is about failures; a report without one has the header alone.
        wanted = action is Action.FAILED and message.envelope.ret == "FULL"
        # A binary message cannot stand in a report that is sent by DATA; one under REQUIRETLS stays with its sender.
        sendable = message.envelope.body != "BINARYMIME" and not message.envelope.requiretls
        full = wanted and sendable and message.size <= LARGEST_ORIGINAL
        stop = content.size if full else min(content.header_size, dsn.LONGEST_HEADER + 1)
        return message.prefix + b"".join([piece async for piece in content.read(0, stop)]), full
