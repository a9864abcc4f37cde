"""ImapFlow (Node.js): what programs on it do, by TLS and STARTTLS, with every extension that it looks for."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.interop.programs import Run
from tests.support.server_process import Account, ServerProcess, make_message

SESSION = Path(__file__).with_name("imapflow_session.mjs")
# What .ci/run made with `npm install --prefix`.
LIBRARY = Path(os.environ.get("IMAPFLOW", "~/.cache/duckmail-tests/imapflow")).expanduser()
MIXED = "\r\n".join(
    [
        "From: =?utf-8?q?Gr=C3=BC=C3=9Fe?= <a@example.org>",
        "Subject: =?utf-8?b?R3LDvMOfZQ==?=",
        "Date: Mon, 02 Nov 2026 10:00:00 +0100",
        "Message-ID: <mixed@example.org>",
        "MIME-Version: 1.0",
        'Content-Type: multipart/mixed; boundary="b"',
        "",
        "--b",
        "Content-Type: text/plain; charset=utf-8",
        "",
        "Hello Grüße",
        "--b",
        'Content-Type: application/octet-stream; name="duck.bin"',
        'Content-Disposition: attachment; filename="duck.bin"',
        "Content-Transfer-Encoding: base64",
        "",
        "ZHVja21haWwgaXMgaGVyZQ==",
        "--b--",
        "",
    ]
).encode()


def missing() -> str:
    """What it lacks here; nothing: ''."""
    node = shutil.which("node")
    if node is None:
        return "node is not installed"
    version = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    if int(version.removeprefix("v").partition(".")[0]) < 20:
        return f"ImapFlow wants Node.js 20, here is {version.strip()}"
    if not (LIBRARY / "node_modules/imapflow/package.json").is_file():
        return f"ImapFlow is not installed (npm install --prefix {LIBRARY} imapflow)"
    return ""


LACKS = missing()
pytestmark = pytest.mark.skipif(bool(LACKS), reason=LACKS or "it is all there")


@pytest.fixture(params=[True, False], ids=["implicit-tls", "starttls"])
def seen(request: pytest.FixtureRequest, server: ServerProcess, account: Account, run: Run) -> dict[str, Any]:
    """What the session printed. Whatever the server refused, or ImapFlow warned of, fails here."""
    server.deliver(make_message("letter 0", "body 0"), account.address)
    server.deliver(MIXED, account.address)
    task = {
        "library": str(LIBRARY),
        "host": "localhost",
        "port": server.imaps_port if request.param else server.imap_port,
        "secure": request.param,
        "ca": str(server.certificate),
        "user": account.address,
        "pass": account.password,
    }
    said: dict[str, Any] = json.loads(run("node", str(SESSION), json.dumps(task)).splitlines()[-1])
    assert said["refused"] == []
    assert ("STARTTLS" in said["sent"]) is not request.param
    return said


def test_imapflow(seen: dict[str, Any], server: ServerProcess, account: Account) -> None:
    session(seen)
    mailboxes(seen["mailboxes"])
    reading(seen["reading"], server.messages(account))
    searching(seen["searching"])
    changing(seen["changing"])
    # Another session's message, flag and deletion came during IDLE; with QRESYNC a deletion names the UID.
    assert seen["idling"] == {"count": 3, "flags": ["\\Answered"], "gone": True, "vanished": True}
    # SELECT (QRESYNC ...): what happened to a mailbox since it was closed.
    assert seen["again"] == {"gone": [1, True, True], "changed": 2, "since": 3}
    assert seen["quota"]["path"] == "INBOX"
    assert 0 < seen["quota"]["storage"]["usage"] < seen["quota"]["storage"]["limit"]


def session(seen: dict[str, Any]) -> None:
    assert seen["session"] == {
        "server": "duckmail",
        "enabled": ["CONDSTORE", "IMAP4REV2", "QRESYNC", "UTF8=ACCEPT"],
        "plain": ["CONDSTORE", "IMAP4REV2", "UTF8=ACCEPT"],
        "authorized": True,
        "namespaces": {
            "personal": [{"prefix": "", "delimiter": "/"}],
            "other": [{"prefix": "Shared/", "delimiter": "/"}],
            "shared": False,
        },
    }
    # It found the extensions: these are its commands where they are offered, and others where they are not.
    assert {"COMPRESS", "ENABLE", "GETQUOTAROOT", "ID", "IDLE", "NAMESPACE", "UID EXPUNGE", "UID MOVE"} <= set(
        seen["sent"]
    )


def mailboxes(seen: dict[str, Any]) -> None:
    assert seen["list"] == [
        ["INBOX", "\\Inbox", True, 2],
        ["Sent Mail", "\\Sent", True, 0],
        ["Drafts", "\\Drafts", True, 0],
        ["Junk", "\\Junk", True, 0],
        ["Trash", "\\Trash", True, 0],
        ["Grüße", "", False, 0],
        ["Grüße/aus Bonn", "", True, 1],
    ]
    status = seen["status"]
    assert (status["messages"], status["unseen"], status["uidNext"]) == (1, 0, 2)
    assert status["size"] > 100


def reading(seen: dict[str, Any], stored: list[bytes]) -> None:
    first, second = seen["fetched"]
    assert [each["source"].encode("latin-1") for each in (first, second)] == stored
    assert [each["size"] for each in (first, second)] == [len(octets) for octets in stored]
    assert [each["headers"] for each in (first, second)] == [
        "Subject: letter 0\r\n\r\n",
        "Subject: =?utf-8?b?R3LDvMOfZQ==?=\r\n\r\n",
    ]
    assert second["envelope"]["subject"] == second["envelope"]["from"][0]["name"] == "Grüße"
    text, file = second["bodyStructure"]["childNodes"]
    assert (text["type"], text["parameters"], text["size"]) == ("text/plain", {"charset": "utf-8"}, 13)
    assert (file["encoding"], file["dispositionParameters"]) == ("base64", {"filename": "duck.bin"})
    assert len({each[name] for each in (first, second) for name in ("emailId", "threadId")}) == 4
    assert first["modseq"]
    assert seen["parts"]["1"] == "Hello Grüße"
    assert seen["parts"]["2"] == "Vja21haW"
    assert seen["parts"]["2.mime"].startswith("Content-Type: application/octet-stream;")
    assert seen["download"] == ["duck.bin", "duckmail is here", "duckmail is here"]
    assert seen["many"] == ["Hello Grüße", "duckmail is here"]
    assert seen["part"].encode() == stored[0][6:12]


def searching(seen: dict[str, Any]) -> None:
    assert seen == {
        "text": [2],
        "flags": [1, 2],
        "dates": [1, 2],
        "modseq": [1, 2],
        "esearch": {"min": 1, "max": 2, "count": 2, "all": "1:2"},
        "partial": {"partial": {"range": "1:1", "messages": "1"}},
        "none": [],
    }


def changing(seen: dict[str, Any]) -> None:
    assert seen == {
        "appended": 3,
        # The second change of the first was refused: it had changed since.
        "flags": [
            [1, ["$Label", "\\Flagged"], "red"],
            [2, ["$MailFlagBit0", "$MailFlagBit2", "\\Flagged", "\\Seen"], "purple"],
            [3, [], ""],
        ],
        "copied": [[1, 2], [2, 3]],
        "moved": [[3, 1]],
        "exists": 2,
    }
