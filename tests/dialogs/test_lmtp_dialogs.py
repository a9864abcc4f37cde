"""Plays every `lmtp-*.dialog` against an LMTP server over a message store in memory: in process, over TCP, over TLS."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from duckmail.runtime.budget import OctetBudget
from duckmail.runtime.threads import Pool
from duckmail.services.delivery import Delivery
from protocols.lmtp.server import LmtpServer
from protocols.lmtp.settings import LmtpSettings
from protocols.net.connection import Connection
from protocols.net.peer import Networks
from tests.support.dialog import play, play_over
from tests.support.net import client_context, serving, shared_contexts
from tests.support.postbox import Postbox

DIALOGS = sorted(Path(__file__).parent.glob("lmtp-*.dialog"))
SETTINGS: dict[str, dict[str, Any]] = {
    "lmtp-limits": {"max_recipients": 3, "max_errors": 4},
    "lmtp-xclient": {"spam_peers": Networks(("127.0.0.0/8", "::1", "192.0.2.0/24", "unix"))},
}
CONNECTIONS = {"lmtp-starttls": {"tls_available": True}}
OVER_SOCKETS = [path for path in DIALOGS if path.stem != "lmtp-starttls"]


def world() -> Postbox:
    postbox = Postbox()
    postbox.add("alice@example.com", "alias@example.com", "postmaster@mx.example", "sales*@example.com")
    postbox.add("bob@example.com", "*@catchall.example")
    postbox.add("käthe@bücher.example")
    postbox.add("disabled@example.com", disabled=True)
    postbox.add("suspended@example.com", suspended=True)
    postbox.add("full@example.com", quota=1000, used=1000)
    postbox.add("small@example.com", quota=1000, used=0)
    postbox.record("forward@example.com", targets=("x@remote.example",))
    postbox.record("forward-off@example.com", targets=("x@remote.example",), forwarded_disabled=True)
    postbox.aliases["example.org"] = "example.com"
    return postbox


@asynccontextmanager
async def server(path: Path) -> AsyncIterator[LmtpServer]:
    settings = LmtpSettings("mx.example", size_limit=2_000_000, **SETTINGS.get(path.stem, {}))
    pool = Pool("test", 1)
    budget = OctetBudget(4_000_000)
    try:
        yield LmtpServer(settings, Delivery(world(), pool), budget, lambda peer: True)
    finally:
        pool.close()
    assert (budget.used, budget.waiting) == (0, 0)


@pytest.mark.parametrize("path", DIALOGS, ids=lambda path: path.stem)
async def test_dialog(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with server(path) as lmtp:
        await play(path, lmtp.serve, **CONNECTIONS.get(path.stem, {}))
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    ("service", "client"),
    [
        pytest.param({}, {}, id="tcp"),
        pytest.param({"tls": shared_contexts(), "implicit_tls": True}, {"ssl": client_context()}, id="tls"),
    ],
)
@pytest.mark.parametrize("path", OVER_SOCKETS, ids=lambda path: path.stem)
async def test_dialog_over_sockets(path: Path, service: dict[str, Any], client: dict[str, Any]) -> None:
    async with server(path) as lmtp:
        connections: list[Connection] = []

        async def serve(connection: Connection) -> None:
            connections.append(connection)
            await lmtp.serve(connection)

        async with serving(serve, **service) as (_, port):
            await play_over(path, port, lambda number, action: connections[0].drain_session(), **client)
