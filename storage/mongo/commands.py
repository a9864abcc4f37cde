"""Write commands as they are, for the path of every delivery.

The driver's bulk writer plans batches, retries and results that a transaction of at most 4 MB has no use for; it costs
three times the processor time of the command itself.
"""

from collections.abc import Sequence
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import BulkWriteError

from storage.mongo.client import Database, Document


async def insert(
    database: Database, collection: str, documents: Sequence[Document], session: AsyncClientSession
) -> None:
    """Inserts `documents`, which have their `_id`, inside the transaction of `session`. Raises: PyMongoError."""
    _check(await database.command("insert", collection, documents=documents, ordered=False, session=session))


async def update(database: Database, collection: str, updates: Sequence[Document], session: AsyncClientSession) -> None:
    """Carries out `updates` (`q`, `u`) inside the transaction of `session`. Raises: PyMongoError."""
    _check(await database.command("update", collection, updates=updates, ordered=False, session=session))


def _check(reply: dict[str, Any]) -> None:
    if "writeErrors" in reply:
        raise BulkWriteError({"writeErrors": reply["writeErrors"], "writeConcernErrors": [], "nInserted": 0})
