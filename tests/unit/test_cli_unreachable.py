"""Commands at a terminal when MongoDB is not there: one clear line, soon, and no success."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from duckmail.cli import databases
from duckmail.cli.commands import FAILED

# In a process of its own: the driver leaves a socket behind when a connection is given up that was being made.
_SCRIPT = """
import sys
from duckmail.cli import databases
from duckmail.cli.commands import run
databases.ANSWER_SECONDS = 0.2
for words in (["queue", "list"], ["task", "list"], ["user", "list"], ["token", "list"], ["fsck"]):
    print(words[0], run([*words, "--config", sys.argv[1]]))
"""


@pytest.fixture(params=["refused", "hung"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where nobody listens, or where connections are taken and never answered."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        if request.param == "hung":
            listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def test_somebody_waits_for_it_only_for_seconds() -> None:
    assert 1 < databases.ANSWER_SECONDS <= 5


def test_it_is_said(address: str, tmp_path: Path) -> None:
    """Not by the time that an operation of a server has, which ends in another line."""
    file = tmp_path / "duckmail.toml"
    uri = f"mongodb://u:hidden7@{address}/?directConnection=true"
    file.write_text(
        f'[server]\nhostname = "mx.example.com"\ndata = "{tmp_path}"\n[mongo]\nuri = "{uri}"\n[redis]\nurl = "none"\n'
    )
    command = [sys.executable, "-P", "-c", _SCRIPT, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.split() == ["queue", "1", "task", "1", "user", "1", "token", "1", "fsck", "1"]
    assert FAILED == 1
    assert done.stderr == f"duckmail: MongoDB does not answer: {address}\n" * 5
