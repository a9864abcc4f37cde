"""mbsync: a Maildir and the server kept equal, in both directions."""

import re
from pathlib import Path

import pytest

from tests.interop.programs import Run
from tests.support.server_process import Account, ServerProcess, make_message

CONFIG = """
IMAPAccount duck
Host localhost
Port {port}
User {user}
Pass {password}
SSLType {tls}
CertificateFile {crt}
AuthMechs *
PipelineDepth {depth}

IMAPStore far
Account duck

MaildirStore near
Path {folder}/Mail/
Inbox {folder}/Mail/INBOX
SubFolders Verbatim

Channel duck
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
CopyArrivalDate yes
SyncState {folder}/state/
"""


class Maildir:
    """One mailbox in mbsync's Maildir."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def files(self) -> dict[str, Path]:
        """By the subject of the message."""
        found = {}
        for file in [*self.path.glob("cur/*"), *self.path.glob("new/*")]:
            subject = re.search(rb"^Subject: (.*)$", file.read_bytes(), re.MULTILINE)
            assert subject, file
            found[subject[1].decode()] = file
        return found

    def flags(self) -> dict[str, str]:
        return {subject: file.name.rpartition(":2,")[2] for subject, file in self.files().items() if ":" in file.name}

    def add(self, message: bytes, flags: str = "") -> None:
        for name in ("cur", "new", "tmp"):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        name = f"1700000000.{len(self.files())}_1.here:2,{flags}"
        (self.path / "cur" / name).write_bytes(message.replace(b"\r\n", b"\n"))

    def set_flags(self, subject: str, flags: str) -> None:
        file = self.files()[subject]
        name = f"{file.name.partition(':')[0]}:2,{flags}"
        file.rename(self.path / "cur" / name)

    def body(self, subject: str) -> bytes:
        """Octets as they were sent: mbsync writes LF line ends and a header line of its own."""
        octets = self.files()[subject].read_bytes().replace(b"\n", b"\r\n")
        return re.sub(rb"^X-TUID: .*\r\n", b"", octets, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("tls", "depth"),
    [pytest.param("STARTTLS", 1, id="starttls-one-by-one"), pytest.param("IMAPS", 50, id="implicit-tls-pipelined")],
)
def test_mbsync(tls: str, depth: int, server: ServerProcess, account: Account, run: Run, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "Mail").mkdir()
    file = tmp_path / "mbsyncrc"
    file.write_text(
        CONFIG.format(
            port=server.imap_port if tls == "STARTTLS" else server.imaps_port,
            user=account.address,
            password=account.password,
            tls=tls,
            crt=server.data / "tls/self-signed.crt",
            depth=depth,
            folder=tmp_path,
        )
    )
    inbox, lists = Maildir(tmp_path / "Mail/INBOX"), Maildir(tmp_path / "Mail/Lists/duck")

    def mbsync() -> None:
        run("mbsync", "-c", str(file), "-a")

    def far_state() -> dict[str, object]:
        with server.imap(account) as client:
            names = [name for _, _, name in client.list_folders()]
            items = ["MESSAGES", "UNSEEN", "UIDNEXT", "HIGHESTMODSEQ"]
            return {name: client.folder_status(name, items) for name in names}

    def near_state() -> list[str]:
        return sorted(str(path) for path in (tmp_path / "Mail").glob("**/*"))

    def unchanged() -> bool:
        before = far_state(), near_state()
        mbsync()
        return before == (far_state(), near_state())

    # What is on the server comes here.
    for number in range(5):
        server.deliver(make_message(f"far {number}", f"body {number}"), account.address)
    with server.imap(account) as client:
        client.create_folder("Lists/duck")
        client.append("Lists/duck", make_message("on the list"), [b"\\Seen", b"\\Flagged"])
    mbsync()
    stored = server.messages(account)
    assert [inbox.body(f"far {number}") for number in range(5)] == stored
    assert lists.flags() == {"on the list": "FS"}
    assert unchanged()

    # What is done here goes to the server: a new message, flags, a deletion, a new mailbox.
    inbox.add(make_message("near", "written here"), "FS")
    inbox.set_flags("far 1", "RS")
    inbox.set_flags("far 2", "ST")
    Maildir(tmp_path / "Mail/Made here").add(make_message("in a new one"))
    mbsync()
    with server.imap(account) as client:
        client.select_folder("INBOX", readonly=True)
        envelopes = client.fetch(client.search(), ["ENVELOPE", "FLAGS"])
        flags = {each[b"ENVELOPE"].subject.decode(): set(each[b"FLAGS"]) for each in envelopes.values()}
        assert set(flags) == {"far 0", "far 1", "far 3", "far 4", "near"}
        assert flags["near"] - {b"\\Recent"} == {b"\\Flagged", b"\\Seen"}
        assert flags["far 1"] - {b"\\Recent"} == {b"\\Answered", b"\\Seen"}
        assert client.folder_status("Made here", ["MESSAGES"]) == {b"MESSAGES": 1}
    assert b"written here" in server.messages(account)[-1]
    assert unchanged()

    # And the other way: flags, a deletion, a removed mailbox; with a change here at the same time.
    with server.imap(account) as client:
        client.select_folder("INBOX")
        client.add_flags(client.search(["SUBJECT", "far 0"]), [b"\\Flagged"])
        client.delete_messages(client.search(["SUBJECT", "far 3"]))
        client.expunge()
        client.select_folder("Made here")
        client.delete_messages([1])
        client.expunge()
    inbox.set_flags("far 4", "S")
    mbsync()
    assert inbox.flags() == {"far 0": "F", "far 1": "RS", "far 4": "S", "near": "FS"}
    with server.imap(account) as client:
        client.select_folder("INBOX", readonly=True)
        assert len(client.search("SEEN")) == 3
        client.unselect_folder()
        client.delete_folder("Made here")
    assert (tmp_path / "Mail/Made here/cur").exists()
    mbsync()
    assert not (tmp_path / "Mail/Made here/cur").exists()
    assert unchanged()
