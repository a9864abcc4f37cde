"""getmail over POP3 with TLS, having no STLS: remembers by UIDL what it has, and deletes when told."""

from pathlib import Path

from tests.interop.programs import Run
from tests.support.letterbox import as_lines, letters, subject
from tests.support.server_process import Account, ServerProcess, make_message

CONFIG = """
[retriever]
type = SimplePOP3SSLRetriever
server = localhost
port = {port}
username = {user}
password = {password}
ca_certs = {crt}

[destination]
# It waits for the death of the program that it has just started, and misses one that comes too soon.
type = MDA_external
path = /bin/sh
arguments = ("-c", "sleep 0.1; exec cat > {folder}/mail/$$")
allow_root_commands = true
unixfrom = false

[options]
delete = {delete}
read_all = {everything}
delivered_to = false
received = false
verbose = 2
"""


def test_getmail(server: ServerProcess, account: Account, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "mail"
    folder.mkdir()

    def getmail(*, delete: bool = False, everything: bool = False) -> list[bytes]:
        """What it delivered, by subject."""
        file = tmp_path / "getmailrc"
        file.touch(mode=0o600)
        file.write_text(
            CONFIG.format(
                port=server.pop3_port(tls=True),
                user=account.address,
                password=account.password,
                crt=server.certificate,
                folder=tmp_path,
                delete=str(delete).lower(),
                everything=str(everything).lower(),
            )
        )
        run("getmail", "--getmaildir", str(tmp_path), "--rcfile", str(file))
        found = [each.read_bytes() for each in folder.iterdir()]
        for each in folder.iterdir():
            each.unlink()
        return sorted(found, key=subject)

    for message in letters():
        server.deliver(message, account.address)
    expected = sorted((as_lines(octets) for octets in server.messages(account)), key=subject)
    assert getmail() == expected
    assert getmail() == []
    server.deliver(make_message("~ a new one"), account.address)
    [new] = getmail()
    assert subject(new) == "~ a new one"
    assert getmail(delete=True, everything=True) == [*expected, new]
    assert server.messages(account) == []
    assert len(server.messages(account, "Trash")) == len(expected) + 1
