"""The message document: small and hot, all that listing, sorting and ENVELOPE need without a look at contents."""

from collections.abc import Sequence
from datetime import datetime

from bson.int64 import Int64

from duckmail.mime.summary import Summary
from duckmail.model.message import NO_DETAILS, Details, NewMessage
from storage.contents.prepared import PreparedContent
from storage.mongo.client import Document

# Octets (UTF-8) at most, so that documents are small whoever has written the messages.
LISTED = 8 * 1024  # of subject and address fields, for listing, sorting and search
ATTACHMENTS = 8 * 1024
IDENTIFIER = 1_000
REFERENCES = 4 * 1024
# What BSON adds: to an attachment, to a pair of name and address.
ENTRY = 160
ADDRESS = 30


def message_document(new: NewMessage, content: PreparedContent, moment: datetime) -> Document:
    """All fields but those that the mailbox gives (_id, user, mailbox, uid, modseq, flags, emailid).

    `onlyid`: a search of Message-ID has `msgid` to compare with and nothing else. Messages stored before there was this
    field may have more.
    """
    summary = content.summary
    document: Document = {
        "idate": new.idate or moment,
        "savedate": moment,
        "size": Int64(len(new.prefix) + content.size),
        "content": content.document["_id"],
        "hdate": summary.date or new.idate or moment,
        "msgid": (identifier := _clipped(summary.message_id, IDENTIFIER)),
        "onlyid": content.only_id and identifier == summary.message_id and _names_no_id(new.prefix),
        "intro": summary.intro,
        "attachments": _attachments(summary),
        **_listed(summary),
    }
    if summary.sent_day is not None:
        document["sentday"] = summary.sent_day.toordinal()
    if summary.references:
        document["refs"] = _references(summary)
    elif summary.in_reply_to:
        document["answers"] = _clipped(summary.in_reply_to, IDENTIFIER)  # THREAD takes it only then
    if new.prefix:
        document["prefix"] = new.prefix
    if new.details is not NO_DETAILS:
        document |= _from_details(new.details)
    if not content.large:
        document["envelope"] = content.envelope
        document["bodystructure"] = content.bodystructure
    return document


def _names_no_id(prefix: bytes) -> bool:
    """Whether a search of Message-ID finds no field in these lines, whatever is decoded in them."""
    return prefix.isascii() and b"=?" not in prefix and b"message-id" not in prefix.lower()


def _from_details(details: Details) -> Document:
    """Without what is empty."""
    found: Document = {
        "meta": details.meta_data,
        "outbound": list(details.outbound),
        "files": [list(each) for each in details.files],
        "forwarded": [list(each) for each in details.forwarded],
        "reference": list(details.reference or ()),
        "bimi": list(details.bimi or ()),
    }
    return {name: value for name, value in found.items() if value}


def to_details(document: Document) -> Details:
    """Of a message document. Its integers are `int`, whatever BSON gave."""
    reference, bimi = document.get("reference"), document.get("bimi")
    return Details(
        meta_data=document.get("meta", ""),
        reference=(reference[0], reference[1], int(reference[2])) if reference else None,
        files=tuple((file[0], file[1], file[2], int(file[3])) for file in document.get("files", ())),
        bimi=(bimi[0], bimi[1]) if bimi else None,
        outbound=tuple(document.get("outbound", ())),
        forwarded=tuple((kind, value) for kind, value in document.get("forwarded", ())),
    )


def _references(summary: Summary) -> list[str]:
    """The last ones, which are the nearest."""
    kept: list[str] = []
    room = REFERENCES
    for reference in reversed(summary.references):
        room -= _octets(reference)
        if room < 0:
            break
        kept.append(reference)
    return kept[::-1]


def _attachments(summary: Summary) -> list[Document]:
    """The first ones."""
    names = ("path", "filename", "content_type", "disposition", "encoding", "size", "cid", "related")
    kept: list[Document] = []
    octets = 0
    for item in summary.attachments:
        document: Document = {name: getattr(item, name) for name in names}
        octets += ENTRY + sum(_octets(value) for value in document.values() if isinstance(value, str))
        if octets > ATTACHMENTS:
            break
        kept.append(document)
    return kept


def _listed(summary: Summary) -> Document:
    """Subject and address fields as [name, address] pairs; `cut` is set when they are not whole."""
    subject = _clipped(summary.subject, LISTED // 2)
    document: Document = {"subject": subject}
    room = LISTED - _octets(subject)
    fields = {
        "from": summary.from_,
        "replyto": summary.reply_to,
        "to": summary.to,
        "cc": summary.cc,
        "bcc": summary.bcc,
    }
    cut = len(subject) < len(summary.subject)
    for name, addresses in fields.items():
        if not addresses:
            continue
        kept, room = _within(addresses, room)
        cut = cut or len(kept) < len(addresses)
        if kept:
            document[name] = kept
    if cut:
        document["cut"] = True
    return document


def _within(addresses: Sequence[tuple[str, str]], room: int) -> tuple[list[list[str]], int]:
    """The first ones, as many as fit into `room` octets, and what is left of it."""
    kept: list[list[str]] = []
    for name, address in addresses:
        octets = _octets(name) + _octets(address) + ADDRESS
        if octets > room:
            break
        room -= octets
        kept.append([name, address])
    return kept, room


def _octets(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _clipped(text: str, octets: int) -> str:
    return text.encode()[:octets].decode(errors="ignore") if len(text) * 4 > octets else text
