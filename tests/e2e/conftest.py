"""`duckmail serve` on the run's databases, for tests of the running process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server_process import Databases, ServerProcess


@pytest.fixture
def process(
    tmp_path: Path, mongo_uri: str, redis_url: str, redis_prefix: str, database_name: str
) -> Iterator[ServerProcess]:
    """A server of the test's own, not started yet; killed at the end if it still runs."""
    made = ServerProcess(tmp_path, Databases(mongo_uri, database_name, redis_url, redis_prefix))
    yield made
    made.kill()
