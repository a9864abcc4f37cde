"""NeoMutt without a person: commands from its command line, on a terminal that nobody watches."""

import os
import pty
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from tests.interop.programs import PROGRAM_SECONDS, require
from tests.support.server_process import Account, ServerProcess, make_message

CONFIG = """
set folder = "{scheme}://localhost:{port}/"
set spool_file = "+INBOX"
set imap_user = "{user}"
set imap_pass = "{password}"
set certificate_file = "{crt}"
set ssl_force_tls = yes
set tmpdir = "{folder}"
set confirm_create = no
set confirm_append = no
set delete = yes
set quit = yes
set mark_old = no
set wait_key = no
set pipe_decode = no
set move = no
set record = "+Sent Mail"
set from = "{user}"
set realname = "A Person"
set editor = "{editor}"
set abort_unmodified = no
set sendmail = "{sendmail}"
set imap_check_subscribed = no
set imap_condstore = {condstore}
set sleep_time = 0
"""


class NeoMutt:
    def __init__(self, folder: Path, server: ServerProcess, account: Account, scheme: str, condstore: str) -> None:
        require("neomutt")
        self._folder = folder
        self._rc = folder / "neomuttrc"
        self._rc.write_text(
            CONFIG.format(
                scheme=scheme,
                port=server.imap_port if scheme == "imap" else server.imaps_port,
                user=account.address,
                password=account.password,
                crt=server.data / "tls/self-signed.crt",
                folder=folder,
                condstore=condstore,
                editor=shutil.which("true"),
                sendmail=shutil.which("true"),
            )
        )

    def press(self, keys: str) -> None:
        """Opens the INBOX, presses `keys`, writes the changes and quits."""
        main, terminal = pty.openpty()
        screen = bytearray()

        def watch() -> None:
            try:
                while piece := os.read(main, 65536):
                    screen.extend(piece)
            except OSError:
                pass  # the other end is closed

        command = ["neomutt", "-n", "-F", str(self._rc), "-e", f"push '{keys}<sync-mailbox><quit>'"]
        environment = {**os.environ, "HOME": str(self._folder), "TERM": "xterm", "LC_ALL": "C.UTF-8"}
        process = subprocess.Popen(
            command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment, start_new_session=True
        )
        os.close(terminal)
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            status = process.wait(PROGRAM_SECONDS / 3)
        except subprocess.TimeoutExpired:
            status = None
            process.kill()
            process.wait(10)
        watcher.join(10)
        os.close(main)
        assert status == 0, screen.decode("utf-8", "replace")[-4000:]


@pytest.mark.parametrize(
    ("scheme", "condstore"),
    [pytest.param("imap", "yes", id="starttls"), pytest.param("imaps", "no", id="implicit-tls")],
)
def test_neomutt(scheme: str, condstore: str, server: ServerProcess, account: Account, tmp_path: Path) -> None:
    neomutt = NeoMutt(tmp_path, server, account, scheme, condstore)
    for number in range(5):
        server.deliver(make_message(f"letter {number}", f"body {number}"), account.address)
    stored = server.messages(account)

    # Reads a message, octet for octet.
    neomutt.press(f"<search>letter 1<enter><pipe-message>cat > {tmp_path}/read<enter><display-message><exit>")
    assert (tmp_path / "read").read_bytes().replace(b"\r\n", b"\n") == stored[1].replace(b"\r\n", b"\n")
    with server.imap(account) as client:
        client.select_folder("INBOX", readonly=True)
        assert client.search("SEEN") == [2]

    # Copies into a mailbox that it makes, saves (copies and deletes), flags, deletes and purges.
    neomutt.press('<tag-pattern>~s "letter [01]"<enter><tag-prefix><copy-message>=Kept<enter>')
    neomutt.press("<search>letter 2<enter><save-message>=Saved<enter>")
    neomutt.press('<search>letter 3<enter><flag-message><delete-pattern>~s "letter 4"<enter>')
    with server.imap(account) as client:
        subjects = {}
        for name in ("INBOX", "Kept", "Saved"):
            client.select_folder(name, readonly=True)
            fetched = client.fetch(client.search(), ["ENVELOPE", "FLAGS"])
            subjects[name] = [each[b"ENVELOPE"].subject.decode() for each in fetched.values()]
        assert subjects == {
            "INBOX": ["letter 0", "letter 1", "letter 3"],
            "Kept": ["letter 0", "letter 1"],
            "Saved": ["letter 2"],
        }
        client.select_folder("INBOX", readonly=True)
        assert client.search("FLAGGED") == [4]
    assert server.messages(account, "Kept") == stored[:2]

    # Writes a letter; what it sent is kept on the server.
    neomutt.press("<mail>duck@example.org<enter>from neomutt<enter><send-message>")
    [sent] = server.messages(account, "Sent Mail")
    assert b"Subject: from neomutt\r\n" in sent
