"""fetchmail over IMAP: fetches what is there, hands it to a program, deletes it on the server."""

import email
from pathlib import Path

import pytest

from tests.interop.programs import Run
from tests.support.server_process import Account, ServerProcess, make_message

CONFIG = """
set no syslog
set no bouncemail
set pidfile "{folder}/fetchmail.pid"
set idfile "{folder}/fetchids"
poll localhost service {port} protocol IMAP auth password timeout 20
  user "{user}" password "{password}" is "root" here
  {tls} sslcertck sslcertfile "{crt}"
  {folders} {what} no rewrite
  mda "tee -a {folder}/mail"
"""


@pytest.mark.parametrize("tls", ["ssl", 'sslproto "TLS1.2+"'], ids=["implicit-tls", "starttls"])
def test_fetchmail(tls: str, server: ServerProcess, account: Account, run: Run, tmp_path: Path) -> None:
    for number in range(4):
        server.deliver(make_message(f"fetched {number}", f"body {number}\n.\nend {number}"), account.address)
    with server.imap(account) as client:
        client.select_folder("INBOX")
        client.add_flags([2], [b"\\Seen"])
        client.create_folder("Lists")
        client.append("Lists", make_message("from a list", "list body"))

    def fetchmail(what: str, folders: str = "", *, status: int = 0) -> str:
        port = server.imaps_port if tls == "ssl" else server.imap_port
        file = tmp_path / "fetchmailrc"
        file.touch(mode=0o600)
        file.write_text(
            CONFIG.format(
                folder=tmp_path,
                port=port,
                user=account.address,
                password=account.password,
                tls=tls,
                crt=server.data / "tls/self-signed.crt",
                folders=folders,
                what=what,
            )
        )
        (tmp_path / "mail").unlink(missing_ok=True)
        run("fetchmail", "-v", "--fetchmailrc", str(file), status=status)
        return (tmp_path / "mail").read_text() if (tmp_path / "mail").exists() else ""

    # Only what is unseen, kept on the server, marked as seen there.
    mail = fetchmail("keep")
    assert [number for number in range(4) if f"Subject: fetched {number}" in mail] == [0, 2, 3]
    assert fetchmail("keep", status=1) == ""
    with server.imap(account) as client:
        client.select_folder("INBOX")
        assert client.search("SEEN") == [1, 2, 3, 4]

    # Everything, deleted on the server; of two mailboxes.
    mail = fetchmail("fetchall no keep", 'folder "INBOX", "Lists"')
    assert [number for number in range(4) if f"body {number}\n.\nend {number}" in mail] == [0, 1, 2, 3]
    assert "list body" in mail
    assert email.message_from_string(mail)["Delivered-To"] == account.address
    assert server.messages(account) == server.messages(account, "Lists") == []
