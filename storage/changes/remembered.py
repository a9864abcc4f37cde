"""The mailbox documents as this process's own commits left them, and which accounts have ample room.

An append that knows the counters need not read them: it increments the document on the condition that it is still
equal to the remembered one, field by field, and has no other. What changed meanwhile does not match, and the append is
run again with a read. So a wrong memory costs one attempt, never a wrong number.

What an account holds is added up again a second later; until then what is under way for it does not use ample room up
(docs/adr/0006).
"""

import time
from collections import OrderedDict
from collections.abc import Sequence

from bson.objectid import ObjectId

from duckmail.model.account import Quota
from storage.mailboxes import OPTIONAL
from storage.mongo.client import Document

MOST = 10_000
ROOM_SECONDS = 1.0
DISTRUST_SECONDS = 5.0  # others write to this mailbox too: reading is cheaper than guessing wrong


class Remembered:
    def __init__(self) -> None:
        self._documents: OrderedDict[ObjectId, Document] = OrderedDict()
        self._distrusted: dict[ObjectId, float] = {}
        self._ample: dict[tuple[ObjectId, Quota], float] = {}

    def take(self, mailboxes: Sequence[ObjectId]) -> dict[ObjectId, Document] | None:
        """All of these documents, or None; they are forgotten, until the attempt that takes them puts them back."""
        found = {mailbox: self._documents.pop(mailbox, None) for mailbox in mailboxes}
        documents = {mailbox: document for mailbox, document in found.items() if document is not None}
        return documents if len(documents) == len(found) else None

    @staticmethod
    def unchanged(document: Document) -> Document:
        """The query for a document that is as this one is."""
        return document | {name: {"$exists": False} for name in OPTIONAL if name not in document}

    def put(self, document: Document) -> None:
        """The document after an increment that may still fail to commit."""
        mailbox = document["_id"]
        until = self._distrusted.pop(mailbox, 0.0)
        if until > time.monotonic():
            self._distrusted[mailbox] = until
            return
        self._documents[mailbox] = document
        if len(self._documents) > MOST:
            self._documents.popitem(last=False)

    def forget(self, mailbox: ObjectId) -> None:
        """This process changes it in another way."""
        self._documents.pop(mailbox, None)

    def distrust(self, mailboxes: Sequence[ObjectId]) -> None:
        """At least one of them was not as remembered."""
        if len(self._distrusted) > MOST:
            self._distrusted.clear()
        self._distrusted |= dict.fromkeys(mailboxes, time.monotonic() + DISTRUST_SECONDS)

    def found_ample(self, user: ObjectId, quota: Quota) -> None:
        """The account's mailboxes were added up, and it may hold much more."""
        if len(self._ample) > MOST:
            self._ample.clear()
        self._ample[user, quota] = time.monotonic() + ROOM_SECONDS

    def ample(self, user: ObjectId, quota: Quota) -> bool:
        """Whether they need not be added up again."""
        return not quota or self._ample.get((user, quota), 0.0) > time.monotonic()
