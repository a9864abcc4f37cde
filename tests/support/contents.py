"""A store's contents on their own, for tests: a database with their indexes, and messages of any kind."""

import base64
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from duckmail.model.message import Content
from duckmail.runtime.threads import Pool
from storage.blobs.parts import FRESH
from storage.contents.contents import Contents
from storage.mongo.client import Client, Database, connect, database


@dataclass(frozen=True, slots=True)
class Store:
    client: Client
    database: Database
    pool: Pool
    contents: Contents

    async def counts(self) -> dict[str, int]:
        names = ("contents", "texts", "parts", "blobs.files", "blobs.chunks")
        return {name: await self.database[name].count_documents({}) for name in names}

    async def add(self, raw: bytes | bytearray) -> str:
        """The id of a new content."""
        prepared = await self.contents.prepare(raw)
        await self.contents.insert_many([prepared])
        return prepared.id


@asynccontextmanager
async def open_store(uri: str, name: str, fresh: timedelta = FRESH) -> AsyncIterator[Store]:
    client = connect(uri)
    pool = Pool("test", 2)
    try:
        store = database(client, name)
        for collection, keys, options in Contents.INDEXES:
            await store[collection].create_index(keys, **options)  # type: ignore[arg-type]
        yield Store(client, store, pool, Contents(store, pool, fresh))
    finally:
        pool.close()
        await client.close()


async def read(content: Content, start: int = 0, stop: int | None = None) -> bytes:
    pieces = [piece async for piece in content.read(start, stop)]
    assert all(0 < len(piece) <= 256 * 1024 for piece in pieces)
    return b"".join(pieces)


def octets(length: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length)


def base64_lines(data: bytes, line: int = 76, newline: bytes = b"\r\n") -> bytes:
    text = base64.b64encode(data)
    return newline.join(text[at : at + line] for at in range(0, len(text), line))


def attachment(data: bytes, name: str = "a.bin", line: int = 76) -> bytes:
    head = f"Content-Type: application/octet-stream; name={name}\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return head.encode() + base64_lines(data, line)


def plain(text: str, encoding: str = "7bit", charset: str = "utf-8") -> bytes:
    head = f"Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    body = base64_lines(text.encode(charset)) if encoding == "base64" else text.encode(charset)
    return head.encode() + body


def multipart(*parts: bytes, boundary: str = "=_b", subject: str = "parts") -> bytes:
    head = (
        f"From: a@example.org\r\nTo: b@example.org\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n"
        f'Content-Type: multipart/mixed; boundary="{boundary}"\r\n\r\n'
    )
    delimiter = f"--{boundary}\r\n".encode()
    body = b"".join(delimiter + part + b"\r\n" for part in parts)
    return head.encode() + body + f"--{boundary}--\r\n".encode()
