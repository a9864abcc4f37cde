"""Contents in the database: prepared, inserted, loaded, searched."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import timedelta
from typing import ClassVar

from pymongo.asynchronous.cursor import AsyncCursor

from duckmail.errors import NotFound
from duckmail.runtime.threads import Pool
from storage.blobs import files, parts
from storage.blobs.parts import FRESH, Parts, now_in_milliseconds
from storage.contents.prepared import PreparedContent, analyse
from storage.contents.stored import StoredContent
from storage.contents.texts import SearchText, load_source
from storage.mongo import commands, pipeline
from storage.mongo.client import Database, Document, object_id, operation
from storage.mongo.pipeline import Command

INLINE_CPU = 32 * 1024  # octets of a message that is analysed on the event loop: less work than a change of thread
GATHERED = 4 * 1024 * 1024  # octets of search text in one batch
LARGE_TEXTS = 2  # contents with more text than that, in memory at once

_HEADER_ONLY = {"size": 1, "headersize": 1, "header": 1}
_WITHOUT_STRUCTURES = {"envelope": 0, "bodystructure": 0, "parts": 0}


class Contents:
    INDEXES: ClassVar[tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...]] = (
        *files.INDEXES,
        *parts.INDEXES,
        ("contents", [("parts", 1)], {"sparse": True}),
        ("contents", [("dying", 1)], {"sparse": True}),
    )

    def __init__(self, database: Database, pool: Pool, fresh: timedelta = FRESH) -> None:
        """`pool`: for the analysis of large messages."""
        self.parts = Parts(database, fresh)
        self.sharded = False  # True: a content may be on another shard than the transaction that names it
        self._database = database
        self._contents = database["contents"]
        self._texts = database["texts"]
        self._pool = pool
        self._analysing = asyncio.Lock()
        self._large_texts = asyncio.Semaphore(LARGE_TEXTS)

    async def prepare(self, raw: bytes | bytearray) -> PreparedContent:
        """Analyses a message and stores its parts, durably; its document is left to `insert_many`.

        Raises:
            Unavailable: the database does not answer; what was stored is left to the sweep.
        """
        prepared = await self.examine(raw)
        await self.keep([prepared])
        return prepared

    async def examine(self, raw: bytes | bytearray) -> PreparedContent:
        """Analyses a message and stores nothing: perhaps it is not stored as it is."""
        if len(raw) <= INLINE_CPU:
            # One at a time, and the loop looks at its sockets in between: were sixteen messages that came together
            # analysed at a stretch, the commit under way would wait all that while for MongoDB's next answer.
            async with self._analysing:
                prepared = analyse(raw)
                await asyncio.sleep(0)
            return prepared
        return await self._pool.run(analyse, raw)

    async def keep(self, prepared: Iterable[PreparedContent]) -> None:
        """Makes the parts durable that are not yet. May be repeated, and done by several at once.

        Raises:
            Unavailable: the database does not answer; what was stored is left to the sweep.
        """
        for content in prepared:
            if content.parts:
                async with content.turn:
                    if content.parts:
                        await self.parts.store(content.parts)
                        content.parts = ()

    async def insert_many(self, prepared: Sequence[PreparedContent]) -> None:
        """Inserts the documents that are not in the database yet; durable on return. May be repeated.

        Raises:
            Unavailable: the database does not answer; some may be there.
        """
        new = [content for content in prepared if not content.inserted]
        await self.keep(new)
        async with operation():
            await pipeline.run(self._database, _insertions(new, {"w": "majority", "j": True}))
        for content in new:
            content.inserted = True

    def insertions(self, prepared: Sequence[PreparedContent]) -> list[Command]:
        """What inserts contents that a running transaction names and whose parts are kept: to be run after the
        transaction's first command and before its commit. They are durable when the commit is: what the primary that
        took the first command takes from then on is before the commit in its log, so the majority that has the commit
        has them too. Who commits says so in `inserted`."""
        return _insertions(prepared, {"w": "majority", "j": True} if self.sharded else {"w": 1})

    async def load(self, ids: Sequence[str], header_only: bool = False) -> dict[str, StoredContent]:
        """The contents by id, in one query; an unknown one is absent. Each may hold up to 2 MiB: choose `ids` so.

        `header_only`: they have `header_block`, `id` and the sizes, nothing else.

        Raises:
            Unavailable: the database does not answer.
        """
        projection = _HEADER_ONLY if header_only else _WITHOUT_STRUCTURES
        async with operation():
            query = {"_id": {"$in": [object_id(identifier) for identifier in ids]}}
            documents = await self._contents.find(query, projection).to_list(None)
        return {str(document["_id"]): await self._stored(document) for document in documents}

    async def _stored(self, document: Document) -> StoredContent:
        index = await self._field(document["index"]) if "index" in document else None
        return StoredContent(document, index, self.parts)

    async def _field(self, field: bytes | Document) -> bytes:
        return field if isinstance(field, bytes) else await self.parts.read_all(field["part"], field["size"])

    async def structures(self, identifier: str) -> tuple[bytes, bytes]:
        """ENVELOPE and BODYSTRUCTURE of a content whose messages leave them out (`PreparedContent.large`).

        Raises:
            NotFound: no such content, or its messages have them.
            Unavailable: the database does not answer.
        """
        async with operation():
            projection = {"envelope": 1, "bodystructure": 1}
            document = await self._contents.find_one({"_id": object_id(identifier)}, projection)
        if document is None or "envelope" not in document:
            raise NotFound(content=identifier)
        return await self._field(document["envelope"]), await self._field(document["bodystructure"])

    async def search_texts(self, ids: Sequence[str]) -> AsyncIterator[list[SearchText]]:
        """What SEARCH looks in, for each content once, in no order; unknown ones are absent.

        In batches of at most a few MiB, or of one content with much text: look through each in a thread, and let go of
        it before the next. At most 100 `ids`.

        Raises:
            Unavailable: the database does not answer.
        """
        wanted = {object_id(identifier) for identifier in ids}
        async for documents in _gather(self._texts.find({"_id": {"$in": list(wanted)}}), _text_octets):
            wanted.difference_update(document["_id"] for document in documents)
            yield [SearchText(str(each["_id"]), each["header"], each["text"]) for each in documents]
        if not wanted:
            return
        cursor = self._contents.find({"_id": {"$in": list(wanted)}}, _WITHOUT_STRUCTURES)
        async for documents in _gather(cursor, _content_octets):
            small = []
            for document in documents:
                content = await self._stored(document)
                if content.inline is None:
                    async with self._large_texts:
                        yield [SearchText(content.id, source=await load_source(content))]
                else:
                    small.append(SearchText(content.id, source=await load_source(content)))
            yield small


def _insertions(contents: Sequence[PreparedContent], concern: Document) -> list[Command]:
    now = now_in_milliseconds()
    texts = [content.text_document for content in contents if content.text_document is not None]
    documents = [{**content.document, "touched": now} for content in contents]
    inserts = (("contents", documents), ("texts", texts))
    return [commands.insert_new(collection, each, concern) for collection, each in inserts if each]


async def _gather(cursor: AsyncCursor[Document], octets: Callable[[Document], int]) -> AsyncIterator[list[Document]]:
    """The cursor's documents in batches of about GATHERED octets."""
    try:
        while True:
            batch: list[Document] = []
            size = 0
            async with operation():
                while size < GATHERED and (document := await anext(cursor, None)) is not None:
                    batch.append(document)
                    size += octets(document)
            if not batch:
                return
            yield batch
    finally:
        await cursor.close()


def _text_octets(document: Document) -> int:
    return len(document["header"]) + len(document["text"])


def _content_octets(document: Document) -> int:
    inline = [document["header"], *document["segments"]]
    return sum(len(octets) for octets in inline if isinstance(octets, bytes))
