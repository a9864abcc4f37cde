"""Messages on their way from one account to another, by COPY or MOVE between mailboxes that are shared."""

from collections.abc import Sequence
from datetime import datetime

from bson.objectid import ObjectId

from storage.audits import copies
from storage.changes.base import Tx
from storage.mongo import commands, pipeline
from storage.mongo.client import Document
from storage.threads import Referring, Threads

# What only the first account's API knows of a message.
_OWN = ("meta", "outbound", "files", "forwarded", "reference", "thread")


async def given(tx: Tx, user: ObjectId, messages: Sequence[Document]) -> list[Document]:
    """The documents as the account `user` is to have them: in threads of its own. Raises: Unavailable, PyMongoError."""
    threads = Threads(tx.database)
    found = await threads.assign([(user, _referring(message)) for message in messages])
    await pipeline.run(tx.database, threads.insertions())
    made = []
    for message, thread in zip(messages, found, strict=True):
        kept = {name: value for name, value in message.items() if name not in _OWN}
        made.append({**kept, "user": user, **({"thread": thread} if thread is not None else {})})
    return made


def _referring(message: Document) -> Referring:
    return Referring(
        message.get("subject", ""), message.get("msgid", ""), message.get("answers", ""), message.get("refs", [])
    )


async def audit(tx: Tx, mailbox: Document, messages: Sequence[Document], moment: datetime) -> None:
    """What comes in is copied for the audits of the account that it comes to."""
    statements = [each for message in messages for each in copies(mailbox, message, mailbox["path"], moment)]
    if statements:
        await pipeline.run(tx.database, [commands.update("auditmails", statements, tx.session)])
