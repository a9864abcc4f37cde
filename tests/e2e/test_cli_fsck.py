"""`duckmail fsck` beside a running server: its words and its exit status."""

from collections.abc import Iterator

import pymongo
import pytest
from bson.int64 import Int64

from tests.support.server_process import Databases, ServerProcess, make_message


@pytest.fixture(scope="module")
def server(module_databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("fsck"), module_databases) as running:
        yield running


def test_differences_are_told_repaired_and_gone(server: ServerProcess, module_databases: Databases) -> None:
    anna = server.add_account("anna")
    server.deliver(make_message("one"), anna.address)
    sound = server.run("fsck", "--deep")
    assert (sound.returncode, sound.stderr) == (0, "")
    assert sound.stdout.startswith(
        "checked: 1 accounts, 5 mailboxes, 1 messages, 0 archived, 0 queued, 0 audited, 1 contents, 0 parts\n"
    )
    assert "no differences, in " in sound.stdout

    with pymongo.MongoClient[dict[str, object]](module_databases.mongo_uri) as client:
        client[module_databases.name]["mailboxes"].update_one({"path": "INBOX"}, {"$set": {"unseen": Int64(9)}})
    found = server.run("fsck")
    assert found.returncode == 1
    assert "anna@mail.test INBOX: unseen: 9, should be 1\n" in found.stdout
    assert "1 differences, 0 of them repaired" in found.stdout
    repaired = server.run("fsck", "--repair")
    assert repaired.returncode == 1
    assert "anna@mail.test INBOX: unseen: 9, should be 1 (repaired)\n" in repaired.stdout
    again = server.run("fsck")
    assert (again.returncode, "no differences" in again.stdout) == (0, True)
    with server.imap(anna) as session:
        assert session.folder_status("INBOX", ["UNSEEN"])[b"UNSEEN"] == 1


def test_names_do_not_reach_the_terminal_raw(server: ServerProcess, module_databases: Databases) -> None:
    bert = server.add_account("bert")
    with pymongo.MongoClient[dict[str, object]](module_databases.mongo_uri) as client:
        users, mailboxes = client[module_databases.name]["users"], client[module_databases.name]["mailboxes"]
        user = users.find_one({"username": bert.address})
        assert user is not None
        mailboxes.update_one({"user": user["_id"], "path": "Trash"}, {"$set": {"path": "\x1b[2Jx", "size": Int64(1)}})
        found = server.run("fsck")
        mailboxes.delete_many({"user": user["_id"]})
        users.delete_one({"_id": user["_id"]})
        client[module_databases.name]["addresses"].delete_many({"user": user["_id"]})
    assert found.returncode == 1
    assert "\x1b" not in found.stdout
    assert "\\x1b[2Jx: size: 1, should be 0" in found.stdout
