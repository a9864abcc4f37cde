"""Write commands as they are, for the path of every delivery; `storage.mongo.pipeline.run` carries them out.

The driver's bulk writer plans batches, retries and results that a transaction of at most 4 MB has no use for; it costs
three times the processor time of the command itself.
"""

from collections.abc import Sequence

from pymongo.asynchronous.client_session import AsyncClientSession

from storage.mongo.client import Document
from storage.mongo.pipeline import Command

DUPLICATE_KEY = 11000


def insert(collection: str, documents: Sequence[Document], session: AsyncClientSession) -> Command:
    """`documents`, which have their `_id`, inside the transaction of `session`."""
    return Command({"insert": collection, "documents": documents, "ordered": False}, session)


def update(collection: str, updates: Sequence[Document], session: AsyncClientSession, *, required: int = 0) -> Command:
    """`updates` (`q`, `u`) inside the transaction of `session`. `required`: documents that they have to find."""
    return Command({"update": collection, "updates": updates, "ordered": False}, session, required)


def insert_new(collection: str, documents: Sequence[Document], concern: Document) -> Command:
    """Those of `documents` whose `_id` is not there yet, outside of any transaction."""
    body = {"insert": collection, "documents": documents, "ordered": False, "writeConcern": concern}
    return Command(body, allowed=DUPLICATE_KEY)
