"""curl's POP3: list, fetch, TOP, UIDL, DELE."""

from pathlib import Path

import pytest

from tests.interop.programs import Run
from tests.support.letterbox import letters
from tests.support.server_process import Account, ServerProcess


@pytest.mark.parametrize("scheme", ["pop3", "pop3s"])
def test_curl_pop3(scheme: str, server: ServerProcess, account: Account, run: Run, tmp_path: Path) -> None:
    """`pop3` with STLS required. The server's certificate is verified."""
    port = server.pop3_port(tls=scheme == "pop3s")
    options = ["--silent", "--show-error", "--ssl-reqd", "--cacert", str(server.certificate), "--max-time", "20"]
    options += ["--user", f"{account.address}:{account.password}"]

    def curl(path: str, *argv: str, status: int = 0) -> str:
        return run("curl", *options, *argv, f"{scheme}://localhost:{port}/{path}", status=status)

    for message in letters():
        server.deliver(message, account.address)
    stored = server.messages(account)
    listed = [line.split() for line in curl("").splitlines() if line != "."]
    assert listed == [[str(number), str(len(octets))] for number, octets in enumerate(stored, 1)]
    for number, octets in enumerate(stored, 1):
        curl(str(number), "--output", "fetched")
        assert (tmp_path / "fetched").read_bytes() == octets
    curl("", "--request", "TOP 2 1", "--output", "top")
    assert (tmp_path / "top").read_bytes() == stored[1].partition(b"\r\n\r\n")[0] + b"\r\n\r\n.\r\n"
    unique = {line.split()[1] for line in curl("", "--request", "UIDL").splitlines() if " " in line}
    assert len(unique) == len(stored)
    curl("1", "--request", "DELE", "--head")
    assert server.messages(account) == stored[1:]
    assert server.messages(account, "Trash") == stored[:1]
    curl("99", status=8)  # CURLE_WEIRD_SERVER_REPLY: it does not know -ERR to RETR better


def test_curl_pop3_with_a_wrong_password(server: ServerProcess, account: Account, run: Run) -> None:
    url = f"pop3s://localhost:{server.pop3_port(tls=True)}/"
    said = run("curl", "-sS", "--cacert", str(server.certificate), "--user", f"{account.address}:no", url, status=67)
    assert "denied" in said.lower()
