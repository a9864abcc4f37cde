"""The commands of the README's first page, as they stand there, on a server as its first start leaves it."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.server_process import DUCKMAIL, HOST, ServerProcess

README = Path(__file__).parents[2] / "README.md"
PORTS = {
    "1143": "IMAP, STARTTLS",
    "1993": "IMAP, TLS",
    "1110": "POP3, STLS",
    "1995": "POP3, TLS",
    "1587": "Submission, STARTTLS",
    "1465": "Submission, TLS",
    "2424": "LMTP",
    "8080": "API",
}


def commands() -> list[str]:
    """Of the block behind the words that lead to it."""
    found = re.search(r"A message in, and out again:\n\n```\n(.*?)```", README.read_text(), re.DOTALL)
    assert found
    return found[1].splitlines()


def test_the_first_page_is_true(tmp_path: Path) -> None:
    for program in ("swaks", "curl"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    with ServerProcess(tmp_path) as server:
        shown = dict(re.findall(r"^ +(login|password|address|API token) +(\S+)$", server.welcome, re.MULTILINE))
        assert shown["login"] == "demo"

        def here(line: str) -> str:
            """With what a reader puts in, the ports of this server, and the command of this checkout."""
            line = line.replace("ADDRESS", shown["address"]).replace("PASSWORD", shown["password"])
            line = re.sub(rf"{HOST}:(\d+)", lambda found: f"{HOST}:{server.port(PORTS[found[1]])}", line)
            if line.startswith(".venv/bin/duckmail"):
                line = line.replace(".venv/bin/duckmail", shlex.join(DUCKMAIL)) + " --config duckmail.toml"
            return line

        for line in commands():
            done = subprocess.run(
                ["bash", "-c", here(line)], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
            )
            assert done.returncode == 0, [line, done.stdout, done.stderr]
            if "imaps:" in line:
                assert "Subject: hello" in done.stdout
            if "pop3s:" in line:
                assert "Delivered-To: " in done.stdout
            if "queue" in line:
                assert "1 delivered, ended" in done.stdout
    assert len(commands()) >= 7
