"""Fixtures for every test: real database servers, started once per run when the first test asks for them."""

import os
import re
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pymongo
import pytest
from hypothesis import settings

from storage.embedded.servers import Embedded
from tests.support.servers import new_data_folder

MOST_FILES = 14_000  # of mongod: many systems let a process open 20,000

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
def _cleaner(mongo_uri: str) -> Iterator[pymongo.MongoClient[dict[str, Any]]]:
    with pymongo.MongoClient[dict[str, Any]](mongo_uri) as client:
        # The files of dropped databases stay open for 300 s, and until a checkpoint: a hundred for each test would be
        # more than a process may open, and that ends mongod.
        client.admin.command({"setParameter": 1, "minSnapshotHistoryWindowInSeconds": 5, "syncdelay": 5.0})
        yield client


@pytest.fixture
def database_name(
    request: pytest.FixtureRequest, embedded: Embedded, _cleaner: pymongo.MongoClient[dict[str, Any]]
) -> Iterator[str]:
    """A database of this test's own, dropped behind it. MongoDB names have at most 63 octets and few signs."""
    words = re.sub(r"[^A-Za-z0-9]+", "_", request.node.name)[:40].strip("_").lower()
    name = f"t_{words}_{uuid.uuid4().hex[:8]}"
    yield name
    _cleaner.drop_database(name)
    _wait_for_files(embedded.servers[0].child.pid)


def _wait_for_files(pid: int) -> None:
    """Until mongod has closed enough of what was dropped; 90 s at most."""
    for _ in range(180):
        try:
            if len(os.listdir(f"/proc/{pid}/fd")) < MOST_FILES:
                return
        except OSError:  # it was started again meanwhile
            return
        time.sleep(0.5)


@pytest.fixture
def redis_prefix() -> str:
    """What all keys and channels of this test begin with: the Valkey is shared by all tests of the run."""
    return f"t{uuid.uuid4().hex[:12]}:"
