"""Write commands as they are, for the path of every delivery.

The driver's bulk writer plans batches, retries and results that a transaction of at most 4 MB has no use for; it costs
three times the processor time of the command itself.
"""

from collections.abc import Sequence
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import BulkWriteError

from storage.mongo.client import Database, Document

DUPLICATE_KEY = 11000


async def insert(
    database: Database, collection: str, documents: Sequence[Document], session: AsyncClientSession
) -> None:
    """Inserts `documents`, which have their `_id`, inside the transaction of `session`. Raises: PyMongoError."""
    _check(await database.command("insert", collection, documents=documents, ordered=False, session=session))


async def update(database: Database, collection: str, updates: Sequence[Document], session: AsyncClientSession) -> int:
    """Carries out `updates` (`q`, `u`) inside the transaction of `session`; how many documents they found.

    Raises: PyMongoError.
    """
    reply = await database.command("update", collection, updates=updates, ordered=False, session=session)
    _check(reply)
    return int(reply["n"])


async def insert_new(database: Database, collection: str, documents: Sequence[Document], concern: Document) -> None:
    """Inserts those of `documents` whose `_id` is not there yet, outside of any transaction. Raises: PyMongoError."""
    reply = await database.command("insert", collection, documents=documents, ordered=False, writeConcern=concern)
    if any(error["code"] != DUPLICATE_KEY for error in reply.get("writeErrors", ())) or "writeConcernError" in reply:
        _check({"writeErrors": [], **reply})


def _check(reply: dict[str, Any]) -> None:
    if "writeErrors" in reply:
        raise BulkWriteError({"writeErrors": reply["writeErrors"], "writeConcernErrors": [], "nInserted": 0})
