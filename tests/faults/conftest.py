"""What tests of faults share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.mongo import client as module
from storage.mongo.client import Client, connect
from tests.support.proxy import Proxy, proxy


@pytest.fixture
async def wire(mongo_uri: str, tmp_path: Path) -> AsyncIterator[Proxy]:
    """Between a client and the run's MongoDB."""
    async with proxy(mongo_uri, tmp_path) as running:
        yield running


@pytest.fixture
async def client(wire: Proxy, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    """Over `wire`; nothing of the driver's own ends a wait of it."""
    monkeypatch.setattr(module, "SERVER_SELECTION_MS", 600_000)
    opened = connect(wire.uri)
    await opened.admin.command("ping")
    yield opened
    wire.moving.set()
    await opened.close()
