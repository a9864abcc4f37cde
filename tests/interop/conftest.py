"""One running server for all interop tests, and an account of its own for each test."""

import functools
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pymongo
import pytest

from tests.interop.programs import Run, run_in
from tests.support.server_process import Account, Databases, ServerProcess

MIB = 1024 * 1024


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, mongo_uri: str, redis_url: str) -> Iterator[ServerProcess]:
    """`duckmail serve` on the run's databases; with STARTTLS for LMTP, and a size limit that tests can reach."""
    name = f"interop_{uuid.uuid4().hex[:8]}"
    databases = Databases(mongo_uri, name, redis_url, f"{name}:")
    sections = {"lmtp": {"starttls": True}, "limits": {"message_size": 8 * MIB}}
    try:
        with ServerProcess(tmp_path_factory.mktemp("interop"), databases, sections) as running:
            yield running
    finally:
        with pymongo.MongoClient[dict[str, object]](mongo_uri) as client:
            client.drop_database(name)


@pytest.fixture
def account(server: ServerProcess, request: pytest.FixtureRequest) -> Account:
    """A fresh account, named after the test."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:30].strip("-")
    return server.add_account(f"{words}-{uuid.uuid4().hex[:6]}")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """See `programs.run_in`; the folder is the test's."""
    return functools.partial(run_in, tmp_path)
