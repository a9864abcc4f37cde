"""OfflineIMAP: a Maildir and the server kept equal, in both directions."""

from pathlib import Path

from tests.interop.programs import Run, require
from tests.interop.test_interop_mbsync import Maildir
from tests.support.server_process import Account, ServerProcess, make_message

CONFIG = """
[general]
accounts = duck
metadata = {folder}/state
socktimeout = 30

[Account duck]
localrepository = near
remoterepository = far

[Repository near]
type = Maildir
localfolders = {folder}/Mail
sep = /

[Repository far]
type = IMAP
remotehost = localhost
remoteport = {port}
ssl = yes
sslcacertfile = {crt}
remoteuser = {user}
remotepass = {password}
"""


def test_offlineimap(server: ServerProcess, account: Account, run: Run, tmp_path: Path) -> None:
    require("offlineimap")
    file = tmp_path / "offlineimaprc"
    crt, port = server.certificate, server.imaps_port
    file.write_text(CONFIG.format(folder=tmp_path, port=port, crt=crt, user=account.address, password=account.password))
    inbox = Maildir(tmp_path / "Mail/INBOX")

    def sync() -> None:
        printed = run("offlineimap", "-c", str(file), "-o", "-u", "basic")
        assert "ERROR" not in printed, printed

    for number in range(4):
        server.deliver(make_message(f"far {number}", f"body {number}"), account.address)
    with server.imap(account) as client:
        client.create_folder("Lists/duck")
        client.append("Lists/duck", make_message("on the list"), [b"\\Seen", b"\\Flagged"])
    sync()
    stored = server.messages(account)
    assert [inbox.body(f"far {number}") for number in range(4)] == stored
    assert Maildir(tmp_path / "Mail/Lists/duck").flags() == {"on the list": "FS"}

    # What is done here goes to the server: a new message, flags, a deletion, a new mailbox.
    inbox.add(make_message("near", "written here"), "FS")
    inbox.set_flags("far 1", "RS")
    inbox.files()["far 2"].unlink()
    Maildir(tmp_path / "Mail/Made here").add(make_message("in a new one"))
    sync()
    with server.imap(account) as client:
        client.select_folder("INBOX", readonly=True)
        found = client.fetch(client.search(), ["ENVELOPE", "FLAGS"]).values()
        flags = {each[b"ENVELOPE"].subject.decode(): set(each[b"FLAGS"]) - {b"\\Recent"} for each in found}
        assert flags == {
            "far 0": set(),
            "far 1": {b"\\Answered", b"\\Seen"},
            "far 3": set(),
            "near": {b"\\Flagged", b"\\Seen"},
        }
        assert client.folder_status("Made here", ["MESSAGES"]) == {b"MESSAGES": 1}

    # And the other way: a flag, a deletion.
    with server.imap(account) as client:
        client.select_folder("INBOX")
        client.add_flags(client.search(["SUBJECT", "far 0"]), [b"\\Flagged"])
        client.delete_messages(client.search(["SUBJECT", "far 3"]))
        client.expunge()
    sync()
    assert {name: "".join(sorted(flags)) for name, flags in inbox.flags().items() if name != "near"} == {
        "far 0": "F",
        "far 1": "RS",
    }
    assert set(inbox.files()) == {"far 0", "far 1", "near"}
