"""One server for all of these tests; whatever they send, none of it may be an error that nobody expected."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.hostile import House, running

OPEN = {"auth": {"account_failures": 0, "network_failures": 0}}  # wrong passwords are not what is tested


@pytest.fixture(scope="session")
async def shared_house(
    mongo_uri: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("hostile")
    async with running(mongo_uri, redis_url, folder, OPEN, ("anna", "bert", "carl")) as opened:
        yield opened


@pytest.fixture
def house(shared_house: House) -> Iterator[House]:
    """The shared server. H1: at the end of each test nothing has failed in an unexpected way."""
    shared_house.errors.clear()
    yield shared_house
    assert shared_house.errors == []
