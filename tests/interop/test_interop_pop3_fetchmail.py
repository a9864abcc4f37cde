"""fetchmail over POP3: keeps by UIDL what it has seen, deletes when told, and hands on every octet but the CR."""

import re
from pathlib import Path

import pytest

from tests.interop.programs import Run
from tests.support.letterbox import as_lines, letters, subject
from tests.support.server_process import Account, ServerProcess, make_message

CONFIG = """
set no syslog
set no bouncemail
set pidfile "{folder}/fetchmail.pid"
set idfile "{folder}/fetchids"
poll localhost service {port} protocol POP3 {uidl} timeout 20
  user "{user}" password "{password}" is "root" here
  {tls} sslcertck sslcertfile "{crt}"
  {what} no rewrite no forcecr
  mda "cat > {folder}/mail/$(date +%s%N)"
"""
ADDED = re.compile(rb"^Received: from localhost [^\n]*\n(?:[ \t][^\n]*\n)*", re.MULTILINE)


@pytest.mark.parametrize("tls", ["ssl", 'sslproto "TLS1.2+"'], ids=["implicit-tls", "stls"])
def test_fetchmail_pop3(tls: str, server: ServerProcess, account: Account, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "mail"
    folder.mkdir()

    def fetchmail(what: str, *, status: int = 0) -> list[bytes]:
        """The messages that it delivered, by subject, without its own header lines."""
        file = tmp_path / "fetchmailrc"
        file.touch(mode=0o600)
        file.write_text(
            CONFIG.format(
                folder=tmp_path,
                port=server.pop3_port(tls=tls == "ssl"),
                uidl="uidl",
                user=account.address,
                password=account.password,
                tls=tls,
                crt=server.certificate,
                what=what,
            )
        )
        run("fetchmail", "-v", "--fetchmailrc", str(file), status=status)
        found = [each.read_bytes() for each in folder.iterdir()]
        for each in folder.iterdir():
            each.unlink()
        return sorted((ADDED.sub(b"", octets, count=1) for octets in found), key=subject)

    for message in letters():
        server.deliver(message, account.address)
    expected = sorted((as_lines(octets) for octets in server.messages(account)), key=subject)
    assert fetchmail("keep") == expected
    assert fetchmail("keep", status=1) == []
    server.deliver(make_message("~ a new one"), account.address)
    [new] = fetchmail("keep")
    assert subject(new) == "~ a new one"
    with server.imap(account) as client:
        client.select_folder("INBOX", readonly=True)
        # It fetches what it keeps by TOP, not to have it marked as seen.
        assert client.search("SEEN") == []
    assert fetchmail("fetchall no keep") == [*expected, new]
    assert server.messages(account) == []
    assert len(server.messages(account, "Trash")) == len(expected) + 1
