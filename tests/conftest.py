"""Fixtures for every test: real database servers, started once per run when the first test asks for them; a store."""

import os
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pymongo
import pytest
from hypothesis import settings
from redis import Redis

from duckmail.model.account import Principal
from duckmail.runtime.tasks import Tasks
from duckmail.services.mail import Mail
from storage.embedded.servers import Embedded
from storage.store import Store
from tests.support.databases import Databases
from tests.support.servers import new_data_folder
from tests.support.stores import new_account, open_store

# The programs that tests start are compiled once, not each time, as some images have it.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

settings.register_profile("fast", max_examples=100, deadline=None)
settings.load_profile("fast")


@pytest.fixture(scope="session")
async def embedded() -> AsyncIterator[Embedded]:
    """The run's mongod and Valkey."""
    data = new_data_folder()
    try:
        async with Embedded(data) as servers:
            yield servers
    finally:
        shutil.rmtree(data, ignore_errors=True)


@pytest.fixture(scope="session")
def mongo_uri(embedded: Embedded) -> str:
    """URI of a real replica set with one member, on a unix socket."""
    return embedded.addresses.mongo_uri


@pytest.fixture(scope="session")
def redis_url(embedded: Embedded) -> str:
    """URL of a real Valkey, on a unix socket."""
    return embedded.addresses.redis_url


@pytest.fixture(scope="session")
def databases(embedded: Embedded) -> Iterator[Databases]:
    """All databases of the run."""
    mongod, addresses = embedded.servers[0].child.pid, embedded.addresses
    with (
        pymongo.MongoClient[dict[str, Any]](addresses.mongo_uri) as client,
        Redis.from_url(addresses.redis_url) as redis,
    ):
        yield Databases(client, redis, mongod)


@pytest.fixture
def database_name(request: pytest.FixtureRequest, databases: Databases) -> Iterator[str]:
    """A database of this test's own, without a document of another's; it may have the schema already."""
    name = databases.take(request.node.name)
    yield name
    databases.give_back(name)


@pytest.fixture
def new_database_name(request: pytest.FixtureRequest, databases: Databases) -> Iterator[str]:
    """A database that does not exist yet, dropped behind the test."""
    name = databases.new(request.node.name)
    yield name
    databases.drop(name)


@pytest.fixture
def redis_prefix() -> str:
    """What all keys and channels of this test begin with: the Valkey is shared by all tests of the run."""
    return f"t{uuid.uuid4().hex[:12]}:"


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    """The owner of what runs beside the test, and is cancelled behind it."""
    async with Tasks("test") as opened:
        yield opened


@pytest.fixture
async def store(mongo_uri: str, database_name: str) -> AsyncIterator[Store]:
    async with open_store(mongo_uri, database_name) as opened:
        yield opened


@pytest.fixture
async def principal(store: Store) -> Principal:
    return await new_account(store)


@pytest.fixture
async def mail(store: Store, principal: Principal) -> Mail:
    return Mail(store, principal)
