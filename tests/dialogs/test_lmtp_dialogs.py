"""Plays every `lmtp-*.dialog` against an LMTP server over a message store in memory."""

from pathlib import Path

import pytest

from duckmail.runtime.budget import OctetBudget
from duckmail.runtime.threads import Pool
from duckmail.services.delivery import Delivery
from protocols.lmtp.server import LmtpServer
from protocols.lmtp.settings import LmtpSettings
from tests.support.dialog import play
from tests.support.postbox import Postbox

DIALOGS = sorted(Path(__file__).parent.glob("lmtp-*.dialog"))
SETTINGS = {"lmtp-limits": {"max_recipients": 3, "max_errors": 4}}
CONNECTIONS = {"lmtp-starttls": {"tls_available": True}}


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


@pytest.mark.parametrize("path", DIALOGS, ids=lambda path: path.stem)
async def test_dialog(path: Path) -> None:
    settings = LmtpSettings("mx.example", size_limit=2_000_000, **SETTINGS.get(path.stem, {}))
    pool = Pool("test", 1)
    budget = OctetBudget(4_000_000)
    server = LmtpServer(settings, Delivery(world(), pool), budget, lambda peer: True)
    try:
        await play(path, server.serve, **CONNECTIONS.get(path.stem, {}))
    finally:
        pool.close()
    assert (budget.used, budget.waiting) == (0, 0)
