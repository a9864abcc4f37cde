"""One running server for all interop tests, and an account of its own for each test."""

import functools
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest
from pymongo.database import Database

from tests.interop.programs import Run, run_in
from tests.support.relay import Relay
from tests.support.server_process import Account, Databases, ServerProcess

MIB = 1024 * 1024


@pytest.fixture(scope="session")
def database(mongo_uri: str) -> Iterator[Database[dict[str, Any]]]:
    """The server's database, dropped at the end."""
    with pymongo.MongoClient[dict[str, Any]](mongo_uri) as client:
        name = f"interop_{uuid.uuid4().hex[:8]}"
        yield client[name]
        client.drop_database(name)


@pytest.fixture(scope="session")
def outside() -> Iterator[Relay]:
    """The server behind the outbound queue: it takes whatever goes elsewhere."""
    with Relay() as running:
        yield running


@pytest.fixture(scope="session")
def server(
    tmp_path_factory: pytest.TempPathFactory,
    mongo_uri: str,
    redis_url: str,
    database: Database[dict[str, Any]],
    outside: Relay,
) -> Iterator[ServerProcess]:
    """`duckmail serve` on the run's databases; with STARTTLS for LMTP, and a size limit that tests can reach."""
    databases = Databases(mongo_uri, database.name, redis_url, f"{database.name}:")
    sections = {
        "lmtp": {"starttls": True},
        "limits": {"message_size": 8 * MIB},
        "outbound": {"relay": f"smtp://127.0.0.1:{outside.port}"},
    }
    with ServerProcess(tmp_path_factory.mktemp("interop"), databases, sections) as running:
        yield running


@pytest.fixture
def account(server: ServerProcess, request: pytest.FixtureRequest) -> Account:
    """A fresh account, named after the test."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:30].strip("-")
    return server.add_account(f"{words}-{uuid.uuid4().hex[:6]}")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """See `programs.run_in`; the folder is the test's."""
    return functools.partial(run_in, tmp_path)
