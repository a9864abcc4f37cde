"""Plays `pop3-*.dialog` against the real services, a database for each: in process, over TCP, over TLS."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from protocols.net.connection import Connection
from protocols.pop3.settings import SASL
from tests.support.dialog import play, play_over
from tests.support.net import client_context, serving, shared_contexts
from tests.support.pop3 import SETTINGS, Pop3House, open_pop3

DIALOGS = sorted(Path(__file__).parent.glob("pop3-*.dialog"))
# Anna's INBOX: 42, 27 and 32 octets.
MESSAGES = (
    b"Subject: one\r\n\r\nfirst line\r\n.dot\r\n..dots\r\n",
    b"Subject: two\r\n\r\nno line end",
    b"Subject: three\r\n\r\nbare\n.\nfeeds\r\n",
)
# What a dialog needs to be otherwise: settings, and arguments of the connection.
OTHERWISE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "pop3-stls": ({"plaintext_login": False}, {"tls_available": True}),
    "pop3-no-tls": ({"plaintext_login": False}, {}),
    "pop3-errors": ({"max_errors": 4}, {}),
    "pop3-scram": ({"sasl": replace(SASL, scram=True, plus=True)}, {}),
    "pop3-timeout-login": ({"login_timeout": 0.3}, {}),
    "pop3-timeout-idle": ({"idle_timeout": 0.3}, {}),
}
OVER_SOCKETS = [Path(__file__).with_name(f"pop3-{name}.dialog") for name in ("login", "mail", "pipelining", "drain")]


@asynccontextmanager
async def opened(path: Path, *databases: str) -> AsyncIterator[Pop3House]:
    per_user = 1 if path.stem == "pop3-user-limit" else 10
    async with open_pop3(*databases, per_user=per_user) as house:
        await house.put(*MESSAGES)
        yield house


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in DIALOGS])
async def test_dialog(
    path: Path, mongo_uri: str, database_name: str, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings, connection = OTHERWISE.get(path.stem, ({}, {}))
    async with opened(path, mongo_uri, database_name, redis_url) as house:
        await play(path, house.serve(replace(SETTINGS, **settings)), **connection)
        assert await house.store.database["maildrops"].count_documents({}) == 0, "every session gave its maildrop back"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    ("service", "client"),
    [
        pytest.param({}, {}, id="tcp"),
        pytest.param({"tls": shared_contexts(), "implicit_tls": True}, {"ssl": client_context()}, id="tls"),
    ],
)
@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in OVER_SOCKETS])
async def test_dialog_over_sockets(
    path: Path, mongo_uri: str, database_name: str, redis_url: str, service: dict[str, Any], client: dict[str, Any]
) -> None:
    connections: list[Connection] = []
    async with opened(path, mongo_uri, database_name, redis_url) as house:
        serve = house.serve()

        async def served(connection: Connection) -> None:
            connections.append(connection)
            await serve(connection)

        async with serving(served, **service) as (_, port):
            await play_over(path, port, lambda number, action: connections[0].drain_session(), **client)


def test_every_dialog_named_is_there() -> None:
    assert {*OTHERWISE, *(path.stem for path in OVER_SOCKETS)} <= {path.stem for path in DIALOGS}
