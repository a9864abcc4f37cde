"""Fixtures of more than one folder, for their conftest files to import; not for all tests, since they load a server."""

from collections.abc import AsyncIterator

import pytest

from tests.support.api import Api, open_api
from tests.support.house import House, open_house


@pytest.fixture
async def api(mongo_uri: str, database_name: str) -> AsyncIterator[Api]:
    async with open_api(mongo_uri, database_name) as opened:
        yield opened


@pytest.fixture
async def house(mongo_uri: str, database_name: str) -> AsyncIterator[House]:
    async with open_house(mongo_uri, database_name) as opened:
        yield opened
