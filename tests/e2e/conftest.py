"""Servers on the run's databases, in the test's process or as `duckmail serve`, and what they send mail to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fixtures import api, house
from tests.support.queued import Queued, queued
from tests.support.relay import Relay
from tests.support.server_process import Databases, ServerProcess

__all__ = ["api", "house", "module_databases", "process", "queue", "relay"]


@pytest.fixture
def process(
    tmp_path: Path, mongo_uri: str, redis_url: str, redis_prefix: str, database_name: str
) -> Iterator[ServerProcess]:
    """A server of the test's own, not started yet; killed at the end if it still runs."""
    made = ServerProcess(tmp_path, Databases(mongo_uri, database_name, redis_url, redis_prefix))
    yield made
    made.kill()


@pytest.fixture(scope="module")
def module_databases(request: pytest.FixtureRequest, mongo_uri: str, redis_url: str) -> Databases:
    """For a server that all tests of a module share."""
    name = request.module.__name__.rpartition(".")[2].replace("test_", "t_", 1)
    return Databases(mongo_uri, name, redis_url, f"{name}:")


@pytest.fixture(scope="module")
def relay() -> Iterator[Relay]:
    with Relay(dsn=True, options={"enable_SMTPUTF8": True}) as running:
        yield running


@pytest.fixture(scope="module")
def queue(server: ServerProcess, module_databases: Databases) -> Iterator[Queued]:
    """Of the module's server."""
    with queued(server, module_databases.mongo_uri, module_databases.name) as found:
        yield found
