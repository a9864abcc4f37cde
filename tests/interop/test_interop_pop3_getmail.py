"""getmail over POP3 with TLS, having no STLS: remembers by UIDL what it has, and deletes when told."""

import functools
from pathlib import Path

from tests.interop.getmail import Getmail
from tests.interop.programs import Run
from tests.support.letterbox import as_lines, letters, subject
from tests.support.server_process import Account, ServerProcess, make_message


def test_getmail(server: ServerProcess, account: Account, run: Run, tmp_path: Path) -> None:
    program = Getmail(tmp_path, run, "SimplePOP3SSLRetriever", server.pop3_port(tls=True))
    getmail = functools.partial(program.fetch, server, account)
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
