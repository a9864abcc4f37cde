"""Plays every `mx-*.dialog` against the real services: in process and over TCP."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from protocols.net.connection import Connection
from tests.support.dialog import play, play_over
from tests.support.mx import MxHouse, shared_mx
from tests.support.net import serving

DIALOGS = sorted(Path(__file__).parent.glob("mx-*.dialog"))
SETTINGS: dict[str, dict[str, Any]] = {"mx-limits": {"max_errors": 4}, "mx-relay": {"max_errors": 30}}
CONNECTIONS: dict[str, dict[str, Any]] = {"mx-starttls": {"tls_available": True}}
OVER_TCP = [path for path in DIALOGS if path.stem not in CONNECTIONS]


@pytest.fixture(scope="module")
async def house(mongo_uri: str) -> AsyncIterator[MxHouse]:
    async with shared_mx(mongo_uri) as opened:
        yield opened
        budget = opened.house.budget
        assert (budget.used, budget.waiting) == (0, 0)


@pytest.mark.parametrize("path", DIALOGS, ids=lambda path: path.stem)
async def test_dialog(path: Path, house: MxHouse, caplog: pytest.LogCaptureFixture) -> None:
    server = house.server(max_recipients=3, **SETTINGS.get(path.stem, {}))
    await play(path, server.serve, **CONNECTIONS.get(path.stem, {}))
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("path", OVER_TCP, ids=lambda path: path.stem)
async def test_dialog_over_tcp(path: Path, house: MxHouse) -> None:
    server = house.server(max_recipients=3, **SETTINGS.get(path.stem, {}))

    async def serve(connection: Connection) -> None:
        await server.serve(connection)

    async with serving(serve) as (_, port):
        await play_over(path, port)


def test_every_dialog_named_is_there() -> None:
    assert {*SETTINGS, *CONNECTIONS} <= {path.stem for path in DIALOGS}
