"""The one MongoDB client of a process, and how its errors become ours."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pymongo
from bson.codec_options import CodecOptions
from bson.errors import InvalidId
from bson.objectid import ObjectId
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import InvalidURI, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from duckmail.errors import NotFound, Unavailable
from storage.mongo.driver import replace_parts

Document = dict[str, Any]
Client = AsyncMongoClient[Document]
Database = AsyncDatabase[Document]
Collection = AsyncCollection[Document]

SERVER_SELECTION_MS = 5_000
OPERATION_SECONDS = 30.0
CODEC: CodecOptions[Document] = CodecOptions(tz_aware=True)
# P1: what is acknowledged is on the disks of a majority.
MAJORITY = WriteConcern(w="majority", j=True, wtimeout=20_000)
CLOSE_SECONDS = 5.0
GOODBYE_SECONDS = 0.2  # to whom little was said, and perhaps nobody is there

replace_parts()


def connect(uri: str) -> Client:
    """A client for `uri`; nothing is sent yet.

    Raises:
        Unavailable: the URI cannot be parsed.
    """
    try:
        return AsyncMongoClient(
            uri,
            appname="duckmail",
            maxPoolSize=32,
            maxIdleTimeMS=600_000,
            serverSelectionTimeoutMS=SERVER_SELECTION_MS,
            connectTimeoutMS=SERVER_SELECTION_MS,
            retryWrites=True,
            retryReads=True,
        )
    except (InvalidURI, PyMongoError) as error:
        raise Unavailable("The MongoDB URI is not valid", error=str(error)) from error


async def require_answer(uri: str, seconds: float) -> None:
    """Raises: Unavailable: MongoDB does not answer within the time; says where it was looked for."""
    client = connect(uri)
    try:
        with pymongo.timeout(seconds):
            await client.admin.command("ping")
    except PyMongoError as error:
        known = client.topology_description.server_descriptions()
        hosts = ", ".join(sorted(host if port is None else f"{host}:{port}" for host, port in known)) or "its servers"
        raise Unavailable(f"MongoDB does not answer: {hosts}", error=f"{type(error).__name__}") from error
    finally:
        await close(client, GOODBYE_SECONDS)


def database(client: Client, name: str) -> Database:
    """The database with majority reads and journaled majority writes, all on the primary."""
    return client.get_database(name, codec_options=CODEC, read_concern=ReadConcern("majority"), write_concern=MAJORITY)


async def close(client: Client, seconds: float = CLOSE_SECONDS) -> None:
    """Ends the client's sessions and connections, also when MongoDB does not answer."""
    with pymongo.timeout(seconds):
        await client.close()


@asynccontextmanager
async def operation(seconds: float | None = None) -> AsyncIterator[None]:
    """Gives the database calls inside one deadline, and turns its failures into `Unavailable`."""
    try:
        with pymongo.timeout(seconds or OPERATION_SECONDS):
            yield
    except PyMongoError as error:
        raise Unavailable(error=f"{type(error).__name__}: {str(error)[:300]}") from error


def object_id(identifier: str) -> ObjectId:
    """The ObjectId of 24 hexadecimal digits.

    Raises:
        NotFound: not an identifier, so nothing has it.
    """
    try:
        return ObjectId(identifier)
    except (InvalidId, TypeError) as error:
        raise NotFound from error
