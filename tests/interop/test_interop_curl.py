"""curl's IMAP: list, fetch, upload, search, and commands of one's own."""

from pathlib import Path
from urllib.parse import quote

import pytest

from tests.interop.programs import Run
from tests.support.server_process import Account, ServerProcess, make_message


@pytest.mark.parametrize("scheme", ["imap", "imaps"])
def test_curl(scheme: str, server: ServerProcess, account: Account, run: Run, tmp_path: Path) -> None:
    """`imap` with STARTTLS required. The server's certificate is verified."""
    port = server.imap_port if scheme == "imap" else server.imaps_port
    options = ["--silent", "--show-error", "--ssl-reqd", "--cacert", str(server.data / "tls/self-signed.crt")]
    options += ["--user", f"{account.address}:{account.password}", "--max-time", "20"]

    def curl(path: str, *argv: str, status: int = 0) -> str:
        return run("curl", *options, *argv, f"{scheme}://localhost:{port}/{path}", status=status)

    message = make_message("uploaded", "a line\n.\na line behind a dot")
    (tmp_path / "message").write_bytes(message)
    curl("", "--request", "CREATE curl")
    curl("curl", "--upload-file", "message")
    curl("INBOX", "--upload-file", "message")
    assert "* LIST" in curl("")
    assert '"/" curl' in curl("")
    curl("curl;UID=1", "--output", "back")
    assert (tmp_path / "back").read_bytes() == message
    curl("curl;UID=1;SECTION=TEXT", "--output", "text")
    assert (tmp_path / "text").read_bytes() == message.partition(b"\r\n\r\n")[2]
    assert "* SEARCH 1\n" in curl("curl?SUBJECT%20uploaded")
    assert "* SEARCH\n" in curl("curl?" + quote("NOT ALL"))
    assert "MESSAGES 1" in curl("", "--request", "STATUS curl (MESSAGES)")
    assert "\\Deleted" in curl("curl", "--request", "STORE 1 +FLAGS \\Deleted")
    assert "* 1 EXPUNGE" in curl("curl", "--request", "EXPUNGE")
    curl("curl;UID=1", status=78)  # CURLE_REMOTE_FILE_NOT_FOUND
    assert server.messages(account) == [message]


def test_curl_with_a_wrong_password(server: ServerProcess, account: Account, run: Run) -> None:
    url = f"imaps://localhost:{server.imaps_port}/"
    crt = str(server.data / "tls/self-signed.crt")
    said = run("curl", "-sS", "--cacert", crt, "--user", f"{account.address}:wrong", url, status=67)
    assert "denied" in said.lower()
