"""Messages that are copied or moved with other contents than they had: what becomes of their documents.

Such a message is a new one: it has an id and an EMAILID of its own (RFC 8474 §5.1: equal ones say equal octets).
"""

from collections.abc import Mapping

from bson.objectid import ObjectId

from duckmail.model.message import NewMessage, StoredMessage
from storage.contents.prepared import PreparedContent
from storage.documents import message_document
from storage.mongo.client import Document

# By the id of the message: the fields that its new content gives it. Messages that are not named keep theirs.
Rewritten = Mapping[str, Document]

_STRUCTURES = ("envelope", "bodystructure")  # a large content has them, not the message


def content_fields(message: StoredMessage, content: PreparedContent) -> Document:
    """Of `message` (loaded with `Needs.META`) with `content`."""
    if message.idate is None:
        raise AssertionError("the internal date was not loaded")
    fields = message_document(NewMessage(content, idate=message.idate, prefix=message.prefix), content, message.idate)
    return {name: value for name, value in fields.items() if name not in ("idate", "savedate")}


def with_content(message: Document, fields: Document | None) -> Document:
    """The message with these fields of another content; None: it keeps its own."""
    if fields is None:
        return message
    kept = {name: value for name, value in message.items() if name not in _STRUCTURES}
    identifier = ObjectId()
    return {**kept, **fields, "_id": identifier, "emailid": identifier}
