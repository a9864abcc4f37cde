"""Plays every `submission-*.dialog` against the real services and the real queue: in process, over TCP, over TLS."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from duckmail.services.access import SYSTEM
from protocols.net.connection import Connection
from protocols.submission.server import SubmissionServer
from protocols.submission.settings import SASL, SubmissionSettings
from tests.support.dialog import play, play_over
from tests.support.net import client_context, serving, shared_contexts
from tests.support.submission import HOSTNAME, open_submission

DIALOGS = sorted(Path(__file__).parent.glob("submission-*.dialog"))
# What a dialog needs to be otherwise: settings, policy, connection, the account of anna.
SETTINGS: dict[str, dict[str, Any]] = {
    "submission-plaintext": {"plaintext_login": True},
    "submission-limits": {"max_recipients": 3, "max_errors": 4},
    "submission-scram": {"sasl": replace(SASL, scram=True, plus=True)},
}
POLICY: dict[str, dict[str, Any]] = {"submission-rewrite": {"rewrite": True}}
PLAINTEXT = {"tls": False, "tls_available": True}
BOUND = {"tls": True, "end_point": b"end point of anna"}
CONNECTIONS: dict[str, dict[str, Any]] = {
    "submission-plaintext": PLAINTEXT,
    "submission-starttls": PLAINTEXT,
    "submission-scram": BOUND,
}
PER_USER = {"submission-limits": 1}
ACCOUNT: dict[str, dict[str, Any]] = {"submission-daily": {"recipients": 3}}
OVER_TLS = [path for path in DIALOGS if path.stem not in CONNECTIONS and path.stem != "submission-drain"]


@asynccontextmanager
async def server(path: Path, mongo_uri: str, database_name: str) -> AsyncIterator[SubmissionServer]:
    name = path.stem
    async with open_submission(mongo_uri, database_name, per_user=PER_USER.get(name, 5)) as house:
        if name == "submission-scram":
            await house.users.set_password(house.ids["anna"], "secret", SYSTEM)
        if name in ACCOUNT:
            await house.change("anna", **ACCOUNT[name])
        settings = SubmissionSettings(HOSTNAME, size_limit=1_000_000)
        yield house.server(replace(settings, **SETTINGS.get(name, {})), **POLICY.get(name, {}))
        assert (house.budget.used, house.budget.waiting) == (0, 0)


@pytest.mark.parametrize("path", DIALOGS, ids=lambda path: path.stem)
async def test_dialog(path: Path, mongo_uri: str, database_name: str, caplog: pytest.LogCaptureFixture) -> None:
    async with server(path, mongo_uri, database_name) as submission:
        await play(path, submission.serve, **CONNECTIONS.get(path.stem, {"tls": True}))
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("path", OVER_TLS, ids=lambda path: path.stem)
async def test_dialog_over_tls(path: Path, mongo_uri: str, database_name: str) -> None:
    async with server(path, mongo_uri, database_name) as submission:

        async def serve(connection: Connection) -> None:
            await submission.serve(connection)

        async with serving(serve, tls=shared_contexts(), implicit_tls=True) as (_, port):
            await play_over(path, port, ssl=client_context())


def test_every_dialog_named_is_there() -> None:
    named = {*SETTINGS, *POLICY, *CONNECTIONS, *PER_USER, *ACCOUNT}
    assert named <= {path.stem for path in DIALOGS}
