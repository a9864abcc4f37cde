"""Messages as answers show them, in listings and alone."""

from collections.abc import Mapping, Sequence
from typing import Final

import orjson

from api.answer import Json, iso, without_none
from duckmail.mime import parameters
from duckmail.mime.address import addresses
from duckmail.mime.header import decode, fields
from duckmail.mime.structure import content_type
from duckmail.model.listing import ListedAttachment, ListedMessage, Pairs
from duckmail.model.message import Details
from duckmail.model.queue import QueuedMessage, State
from duckmail.model.target import shown

FORWARDED = "$forwarded"
_ADDRESS_FIELDS: Final = frozenset({"from", "sender", "to", "cc", "bcc", "reply-to"})


def row(
    message: ListedMessage,
    *,
    headers: tuple[str, ...] | bool = False,
    meta_data: bool = False,
    thread_sizes: Mapping[str, int] | None = None,
    attachments: bool = True,
) -> Json:
    """An entry of a listing. `headers`: fields to show, True for all. `attachments`: list them one by one."""
    sender = message.addresses.get("from", ())
    return without_none(
        id=message.uid,
        mailbox=message.mailbox,
        thread=message.thread,
        threadMessageCount=None if thread_sizes is None else thread_sizes.get(message.thread, 1),
        **{"from": person(sender[0]) if sender else None},
        **{name: people(message.addresses.get(name, ())) for name in ("to", "cc", "bcc")},
        messageId=message.message_id,
        subject=message.subject,
        date=iso(message.date),
        idate=iso(message.idate),
        intro=message.intro or None,
        attachments=any(not each.related for each in message.attachments),
        attachmentsList=[listed(number, each) for number, each in enumerate(message.attachments, 1)]
        if attachments
        else [],
        size=message.size,
        **flags(message.flags),
        references=list(message.references),
        **kind(message),
        metaData=orjson.loads(message.meta_data) if meta_data else None,
        headers=header_fields(message.header, headers) if headers else None,
    )


def flags(names: Sequence[str]) -> Json:
    has = {name.lower() for name in names}
    forwarded = FORWARDED in has
    return {
        "seen": "\\seen" in has,
        "deleted": "\\deleted" in has,
        "flagged": "\\flagged" in has,
        "draft": "\\draft" in has,
        # Clients of the contract show one or the other.
        "answered": "\\answered" in has and not forwarded,
        "forwarded": forwarded,
    }


def kind(message: ListedMessage) -> Json:
    if message.structure:
        value, named = content_type(message.structure)
    else:
        declared = parameters.media_type(message.content_type)
        value = declared.value or "text/plain"
        named = {each.name: each.text for each in declared.parameters}
    answer: Json = {"contentType": {"value": value, "params": named}}
    if value == "multipart/encrypted":
        answer["encrypted"] = True
    return answer


def person(pair: Sequence[str]) -> Json:
    return {"name": pair[0], "address": pair[1]}


def people(pairs: Pairs) -> list[Json]:
    return [person(pair) for pair in pairs]


def sequence(number: int) -> str:
    """A recipient's number within a queued message."""
    return f"{number:03d}"


def outbound(queued: QueuedMessage) -> Json:
    """What of a queued message still waits."""
    entries = [
        {
            "seq": sequence(number),
            "recipient": recipient.address,
            "sendingZone": "default",
            "queued": iso(recipient.due or queued.created),
        }
        for number, recipient in enumerate(queued.recipients, 1)
        if recipient.state is State.WAITING
    ]
    return {"queueId": queued.id, "entries": entries}


def written(details: Details) -> Json:
    """What is known of how a message was made, and where it was sent on to."""
    answer: Json = {}
    if details.reference:
        answer["reference"] = dict(zip(("action", "mailbox", "id"), details.reference, strict=True))
    if details.files:
        names = ("id", "filename", "contentType", "size")
        answer["files"] = [dict(zip(names, file, strict=True)) for file in details.files]
    if details.forwarded:
        answer["forwardTargets"] = [{"type": kind, "value": shown(value)} for kind, value in details.forwarded]
    return answer


def attachment_id(number: int) -> str:
    return f"ATT{number:05d}"


def listed(number: int, attachment: ListedAttachment) -> Json:
    """`number`: from 1, in the order of the message."""
    size = attachment.size
    if attachment.encoding == "base64":
        size = size * 3 // 4
    return {
        "id": attachment_id(number),
        "filename": attachment.filename or f"attachment-{number}",
        "contentType": attachment.content_type,
        "disposition": attachment.disposition or "attachment",
        "transferEncoding": attachment.encoding,
        "related": attachment.related,
        "sizeKb": (size + 1023) // 1024,
    }


def header_fields(block: bytes, wanted: tuple[str, ...] | bool) -> Json:
    """By lower-case name: a text, several as a list, and address fields as addresses."""
    found: dict[str, list[bytes]] = {}
    for each in fields(block):
        name = each.name.decode("ascii", "replace").lower()
        if wanted is True or (isinstance(wanted, tuple) and name in wanted):
            found.setdefault(name, []).append(each.value)
    answer: Json = {}
    for name, values in found.items():
        if name in _ADDRESS_FIELDS:
            entries = addresses(b",".join(values))
            answer[name] = [
                {"name": decode(entry.name or b""), "address": decode(b"@".join((entry.mailbox or b"", entry.host)))}
                for entry in entries
                if entry.host
            ]
        else:
            texts = [decode(value) for value in values]
            answer[name] = texts[0] if len(texts) == 1 else texts
    return answer
