"""Plays `imap-*.dialog` in process, against the real services on a database of each dialog's own."""

from dataclasses import replace
from pathlib import Path

import pytest

from protocols.imap.settings import SASL, ImapSettings
from tests.support.dialog import play
from tests.support.imap import open_imap

FOLDER = Path(__file__).parent
DIALOGS = sorted(FOLDER.glob("imap-*.dialog"))
SETTINGS = ImapSettings(version="1.0", plaintext_login=True, message_size=1_000_000)
# What a dialog needs to be otherwise: settings, and arguments of the connection.
OTHERWISE: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "imap-starttls": ({"plaintext_login": False}, {"tls_available": True}),
    "imap-no-tls": ({"plaintext_login": False}, {}),
    "imap-bad-limit": ({"max_bad": 5}, {}),
    "imap-timeout-login": ({"login_timeout": 0.3}, {}),
    "imap-timeout-idle": ({"idle_timeout": 0.5, "idle_keepalive": 0.2}, {}),
    "imap-user-limit": ({}, {}),
    "imap-scram": ({"sasl": replace(SASL, scram=True, plus=True)}, {"end_point": b"end point of anna"}),
    "imap-literal-minus": ({"literal_minus": True}, {}),
    "imap-messagelimit": ({"message_limit": 3}, {}),
    "imap-savelimit": ({"save_limit": 2}, {}),
}
QUOTAS = {"imap-quota": {"quota": 10 * 1024}, "imap-quota-messages": {"messages": 3}}


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in DIALOGS])
async def test_dialog(path: Path, mongo_uri: str, database_name: str, redis_url: str) -> None:
    settings, connection = OTHERWISE.get(path.stem, ({}, {}))
    async with open_imap(mongo_uri, database_name, redis_url, per_user=4, **QUOTAS.get(path.stem, {})) as house:
        serve = house.serve(replace(SETTINGS, **settings))  # type: ignore[arg-type]
        await play(path, serve, **connection)


def test_every_dialog_named_is_there() -> None:
    assert OTHERWISE.keys() | QUOTAS.keys() <= {path.stem for path in DIALOGS}
