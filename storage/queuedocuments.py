"""Documents of the outbound queue, and back; `storage.queue` says what becomes of them."""

from collections.abc import Sequence
from datetime import UTC, datetime

from bson.binary import Binary
from bson.int64 import Int64
from bson.objectid import ObjectId

from duckmail.model.queue import Notify, Origin, OutboundEnvelope, QueuedMessage, QueueRecipient, State
from storage.mongo.client import Document, object_id


def new_document(
    *,
    user: str,
    origin: Origin,
    envelope: OutboundEnvelope,
    recipients: Sequence[QueueRecipient],
    content: str,
    size: int,
    prefix: bytes = b"",
    due: datetime | None = None,
    key: bytes | None = None,
    vouched: bool = False,
) -> Document:
    """A message, ready to insert. `size`: octets, with the prefix. `due`: when it is sent first, at once when None."""
    now = datetime.now(UTC)
    first = due or now
    document: Document = {
        "_id": ObjectId(),
        "user": object_id(user) if user else None,
        "origin": origin.value,
        "envelope": {
            "sender": envelope.sender,
            "body": envelope.body,
            "smtputf8": envelope.smtputf8,
            "requiretls": envelope.requiretls,
            "ret": envelope.ret,
            "envid": envelope.envid,
        },
        "recipients": [from_recipient(recipient, recipient.due or first) for recipient in recipients],
        "content": object_id(content),
        "size": Int64(size),
        "created": now,
        "due": first,
        "held": False,
    }
    if prefix:
        document["prefix"] = Binary(prefix)
    if key is not None:
        document["key"] = Binary(key)
    if vouched:
        document["vouched"] = True
    return document


def from_recipient(recipient: QueueRecipient, due: datetime | None) -> Document:
    """Without what is as it is at first."""
    document: Document = {
        "address": recipient.address,
        "notify": recipient.notify.value,
        "state": recipient.state.value,
        "attempts": recipient.attempts,
    }
    optional = {
        "orcpt": recipient.orcpt,
        "due": due,
        "tried": recipient.tried,
        "reply": recipient.reply,
        "status": recipient.status,
        "host": recipient.host,
        "delayed": recipient.delayed,
        "via": recipient.via,
    }
    return document | {name: value for name, value in optional.items() if value}


def _to_recipient(document: Document) -> QueueRecipient:
    return QueueRecipient(
        address=document["address"],
        notify=Notify(document["notify"]),
        orcpt=document.get("orcpt", ""),
        state=State(document["state"]),
        attempts=int(document["attempts"]),
        due=document.get("due"),
        tried=document.get("tried"),
        reply=document.get("reply", ""),
        status=document.get("status", ""),
        host=document.get("host", ""),
        delayed=bool(document.get("delayed", False)),
        via=document.get("via", ""),
    )


def to_message(document: Document) -> QueuedMessage:
    user = document.get("user")
    return QueuedMessage(
        id=str(document["_id"]),
        user=str(user) if user is not None else "",
        origin=Origin(document["origin"]),
        envelope=OutboundEnvelope(**document["envelope"]),
        recipients=tuple(map(_to_recipient, document["recipients"])),
        content=str(document.get("content", "")),
        prefix=bytes(document.get("prefix", b"")),
        size=int(document["size"]),
        created=document["created"],
        held=bool(document["held"]),
        runner=document.get("lease", {}).get("runner", ""),
        ended=document.get("ended"),
        vouched=bool(document.get("vouched", False)),
    )
