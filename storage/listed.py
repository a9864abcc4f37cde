"""Subject and addresses as message documents list them, and as a search compares with them."""

from duckmail.mime.collation import casemap
from storage.mongo.client import Document

ADDRESSES = ("from", "to", "cc", "bcc")
FIELDS = ("subject", *ADDRESSES)


def values(document: Document, name: str) -> list[str]:
    """Of one of `FIELDS`, without case."""
    if name == "subject":
        return [casemap(document.get("subject", ""))]
    return [casemap(f"{display} <{address}>") for display, address in document.get(name, ())]
