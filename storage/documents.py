"""The message document: small and hot, all that listing, sorting and ENVELOPE need without a look at contents."""

from collections.abc import Sequence
from datetime import datetime

from bson.binary import Binary
from bson.int64 import Int64
from bson.objectid import ObjectId

from duckmail.mime.summary import Summary
from duckmail.model.message import NewMessage
from storage.contents.prepared import PreparedContent
from storage.mongo.client import Document

LISTED = 8 * 1024  # octets of address fields kept here, for listing, sorting and search
MAX_ATTACHMENTS = 100


def message_document(new: NewMessage, content: PreparedContent, moment: datetime) -> Document:
    """All fields but those that the mailbox gives (_id, user, mailbox, uid, modseq, flags, emailid)."""
    summary = content.summary
    document: Document = {
        "idate": new.idate or moment,
        "savedate": moment,
        "size": Int64(len(new.prefix) + content.size),
        "content": ObjectId(content.id),
        "hdate": summary.date or new.idate or moment,
        "msgid": summary.message_id[:1000],
        "subject": summary.subject[:LISTED],
        "intro": summary.intro,
        "attachments": [_attachment(item) for item in summary.attachments[:MAX_ATTACHMENTS]],
        **_listed_addresses(summary),
    }
    if summary.sent_day is not None:
        document["sentday"] = summary.sent_day.toordinal()
    if new.prefix:
        document["prefix"] = Binary(new.prefix)
    if not content.large:
        document["envelope"] = Binary(content.envelope)
        document["bodystructure"] = Binary(content.bodystructure)
    return document


def _attachment(item: object) -> Document:
    names = ("path", "filename", "content_type", "disposition", "encoding", "size", "cid", "related")
    return {name: getattr(item, name) for name in names}


def _listed_addresses(summary: Summary) -> Document:
    """The address fields as [name, address] pairs, whole or, beyond the limit, cut with `cut` set."""
    fields = {
        "from": summary.from_,
        "replyto": summary.reply_to,
        "to": summary.to,
        "cc": summary.cc,
        "bcc": summary.bcc,
    }
    document: Document = {}
    for name, addresses in fields.items():
        kept = _within(addresses)
        if kept:
            document[name] = [list(pair) for pair in kept]
        if len(kept) < len(addresses):
            document["cut"] = True
    return document


def _within(addresses: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    kept: list[tuple[str, str]] = []
    octets = 0
    for name, address in addresses:
        octets += len(name) + len(address) + 16
        if octets > LISTED:
            break
        kept.append((name, address))
    return kept
