"""One server for all of these tests; whatever they send, none of it may be an error that nobody expected."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.hostile import House, running

OPEN = {"auth": {"account_failures": 0, "network_failures": 0}}  # wrong passwords are not what is tested
STRICT = {
    **OPEN,
    "proxy": {"peers": ("127.0.0.0/8",)},
    "imap": {"login_timeout": 1.0},
    "lmtp": {"peers": ("127.0.0.2",), "max_recipients": 100},
    "limits": {"connections": 8, "per_network": 4, "per_user": 2, "message_size": 1 << 20},
}


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


@pytest.fixture(scope="session")
async def shared_strict_house(
    mongo_uri: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("strict")
    async with running(mongo_uri, redis_url, folder, STRICT, ("anna", "bert", "carl")) as opened:
        yield opened


@pytest.fixture
def strict_house(shared_strict_house: House) -> Iterator[House]:
    """A server with low limits, which takes the word of a proxy for who its clients are."""
    shared_strict_house.errors.clear()
    yield shared_strict_house
    assert shared_strict_house.errors == []
