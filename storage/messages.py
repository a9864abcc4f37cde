"""Reading messages of a mailbox in batches: one query over the set, with the projection that the caller needs."""

from collections.abc import AsyncIterator, Iterable, Sequence

from duckmail.errors import Corrupted, NotFound
from duckmail.model.message import Needs, StoredMessage
from storage.changes.append import LARGEST_DOCUMENT
from storage.changes.base import CHUNK, MEASURED, chunks, uid_query
from storage.contents.contents import Contents
from storage.contents.stored import StoredContent
from storage.contents.texts import SearchText
from storage.mongo.client import Collection, Database, Document, object_id, operation

BATCH = 500  # messages in one query
FEW = 100  # messages that fit one transaction whatever they are
BODY_OCTETS = 4 * 1024 * 1024  # of inline content loaded at once
LISTED = (
    "subject",
    "from",
    "to",
    "cc",
    "bcc",
    "msgid",
    "onlyid",
    "hdate",
    "sentday",
    "cut",
    "thread",
    "emailid",
    "attachments.related",
)

_ALWAYS = {"_id": 1, "uid": 1, "content": 1, "prefix": 1, "size": 1}
_META = {"idate": 1, "savedate": 1, "emailid": 1, "thread": 1}
LOADED = {**_ALWAYS, **_META}  # for `Messages.loaded`


class Messages:
    def __init__(self, database: Database, contents: Contents) -> None:
        self._messages: Collection = database["messages"]
        self._contents = contents

    async def fetch(
        self, user: str, mailbox: str, uids: Sequence[int], needs: Needs
    ) -> AsyncIterator[list[StoredMessage]]:
        """Those of `uids` (ascending) that still exist, ascending, in batches bounded in number and octets.

        Raises: Unavailable.
        """
        projection = _projection(needs)
        async for documents in self._documents(user, mailbox, uids, projection):
            for chunk in _by_octets(documents) if Needs.CONTENT in needs else [documents]:
                yield await self._complete(chunk, needs)

    async def loaded(self, documents: Sequence[Document]) -> AsyncIterator[list[StoredMessage]]:
        """Messages with `LOADED`, of whatever collection, and their contents; in batches as `fetch`."""
        for chunk in _by_octets(documents):
            yield await self._complete(chunk, Needs.META | Needs.CONTENT)

    async def listed(self, user: str, mailbox: str, uids: Sequence[int]) -> AsyncIterator[list[Document]]:
        """The raw fields that search decides on (`LISTED`, dates, sizes), in batches."""
        projection = {**_ALWAYS, "idate": 1, "savedate": 1, **dict.fromkeys(LISTED, 1)}
        async for documents in self._documents(user, mailbox, uids, projection):
            yield documents

    async def fields(
        self, user: str, mailbox: str, uids: Sequence[int], names: Iterable[str]
    ) -> AsyncIterator[list[Document]]:
        """UID and these fields of the message documents, ascending, in batches. Raises: Unavailable."""
        async for documents in self._documents(user, mailbox, uids, {"_id": 0, "uid": 1, **dict.fromkeys(names, 1)}):
            yield documents

    async def size(self, user: str, mailbox: str, uids: Sequence[int]) -> int:
        """Octets of those of `uids` (ascending) that exist. Raises: Unavailable."""
        return sum([int(row["size"]) async for rows in self.fields(user, mailbox, uids, ["size"]) for row in rows])

    async def chunks(self, user: str, mailbox: str, uids: Sequence[int], most: int = CHUNK) -> list[list[int]]:
        """Those of `uids` (ascending) that exist, in runs that one transaction can copy or archive; a few come back as
        they are.
        """
        base = {"user": object_id(user), "mailbox": object_id(mailbox)}
        runs: list[list[int]] = []
        for start in range(0, len(uids), most):
            part = uids[start : start + most]
            if len(part) <= FEW:
                runs.append(list(part))
                continue
            async with operation():
                query = {**base, "uid": uid_query(part)}
                runs += chunks(await self._messages.find(query, MEASURED).sort("uid", 1).to_list(None), most)
        return runs

    async def _documents(
        self, user: str, mailbox: str, uids: Sequence[int], projection: Document
    ) -> AsyncIterator[list[Document]]:
        base = {"user": object_id(user), "mailbox": object_id(mailbox)}
        for start in range(0, len(uids), BATCH):
            query = {**base, "uid": uid_query(uids[start : start + BATCH])}
            async with operation():
                documents = await self._messages.find(query, projection).sort("uid", 1).to_list(None)
            if documents:
                yield documents

    async def _complete(self, documents: Sequence[Document], needs: Needs) -> list[StoredMessage]:
        """Adds what the contents hold: header blocks, octets, and structures too large for the message document."""
        contents: dict[str, StoredContent] = {}
        if needs & (Needs.CONTENT | Needs.HEADER):
            ids = list({str(document["content"]) for document in documents})
            contents = await self._contents.load(ids, header_only=Needs.CONTENT not in needs)
        messages = []
        for document in documents:
            content = contents.get(str(document["content"]))
            if content is None and needs & (Needs.CONTENT | Needs.HEADER):
                raise _missing(document)
            if needs & (Needs.ENVELOPE | Needs.BODYSTRUCTURE) and "envelope" not in document:
                document["envelope"], document["bodystructure"] = await self._structures(document)
            header = await content.header_block() if content is not None and Needs.HEADER in needs else b""
            messages.append(_message(document, content if Needs.CONTENT in needs else None, header))
        return messages

    async def _structures(self, document: Document) -> tuple[bytes, bytes]:
        try:
            return await self._contents.structures(str(document["content"]))
        except NotFound:
            raise _missing(document) from None

    def texts(self, documents: Sequence[Document]) -> AsyncIterator[list[SearchText]]:
        """What SEARCH TEXT and BODY look in, per content (which messages may share), in batches of bounded size."""
        return self._contents.search_texts(list({str(document["content"]) for document in documents}))


def _missing(document: Document) -> Corrupted:
    """Damage from outside: nobody must take an empty message for the one that was stored."""
    return Corrupted(error="a content is missing", content=str(document["content"]), message=str(document["_id"]))


def _projection(needs: Needs) -> Document:
    projection = dict(_ALWAYS)
    if Needs.META in needs:
        projection |= _META
    if needs & (Needs.ENVELOPE | Needs.BODYSTRUCTURE):
        projection["envelope"] = 1
    if Needs.BODYSTRUCTURE in needs:
        projection["bodystructure"] = 1
    if Needs.PREVIEW in needs:
        projection["intro"] = 1
    return projection


def _by_octets(documents: Sequence[Document]) -> list[list[Document]]:
    """Chunks whose contents documents hold at most about `BODY_OCTETS`."""
    chunks: list[list[Document]] = [[]]
    octets = 0
    for document in documents:
        size = min(int(document["size"]), LARGEST_DOCUMENT)
        if chunks[-1] and octets + size > BODY_OCTETS:
            chunks.append([])
            octets = 0
        chunks[-1].append(document)
        octets += size
    return chunks


def _message(document: Document, content: StoredContent | None, header: bytes) -> StoredMessage:
    return StoredMessage(
        uid=int(document["uid"]),
        id=str(document["_id"]),
        idate=document.get("idate"),
        savedate=document.get("savedate"),
        size=int(document["size"]),
        emailid=str(document.get("emailid", "")),
        thread=str(document.get("thread", "")),
        prefix=document.get("prefix", b""),
        envelope=document.get("envelope", b""),
        bodystructure=document.get("bodystructure", b""),
        intro=document.get("intro", ""),
        header=header,
        content=content,
    )
