"""getmail with one account, delivering to a program that keeps each message in a file."""

import re
from pathlib import Path

from tests.interop.programs import Run
from tests.support.letterbox import subject
from tests.support.server_process import Account, ServerProcess

CONFIG = """
[retriever]
type = {type}
server = localhost
port = {port}
username = {user}
password = {password}
ca_certs = {crt}
{how}

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


class Getmail:
    """`folder`: empty, for all that it keeps. `retriever`: its type in the configuration, one with TLS."""

    def __init__(self, folder: Path, run: Run, retriever: str, port: int) -> None:
        self._folder = folder
        self._run = run
        self._type = retriever
        self._port = port
        (folder / "mail").mkdir()

    def fetch(
        self, server: ServerProcess, account: Account, *how: str, delete: bool = False, everything: bool = False
    ) -> list[bytes]:
        """What it delivered, by subject. `how`: more lines for the retriever. `everything`: what it knows, too."""
        file = self._folder / "getmailrc"
        file.touch(mode=0o600)
        file.write_text(
            CONFIG.format(
                type=self._type,
                port=self._port,
                user=account.address,
                password=account.password,
                crt=server.certificate,
                how="\n".join(how),
                folder=self._folder,
                delete=str(delete).lower(),
                everything=str(everything).lower(),
            )
        )
        self._run("getmail", "--getmaildir", str(self._folder), "--rcfile", str(file))
        files = list((self._folder / "mail").iterdir())
        found = [re.sub(rb"(?m)^X-getmail-retrieved-from-mailbox: .*\n", b"", each.read_bytes()) for each in files]
        for each in files:
            each.unlink()
        return sorted(found, key=subject)
