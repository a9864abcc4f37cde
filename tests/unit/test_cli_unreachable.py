"""Commands at a terminal when MongoDB is not there: one clear line, soon, and no success."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from duckmail.cli import databases
from duckmail.cli.commands import FAILED, run


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


# The driver leaves a socket behind when a connection is given up that was being made.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_it_is_said(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not by the time that an operation of a server has, which ends in another line."""
    monkeypatch.setattr(databases, "ANSWER_SECONDS", 0.2)
    file = tmp_path / "duckmail.toml"
    uri = f"mongodb://u:hidden7@{address}/?directConnection=true"
    file.write_text(f'[server]\nhostname = "mx.example.com"\n[mongo]\nuri = "{uri}"\n[redis]\nurl = "none"\n')
    for words in (["queue", "list"], ["task", "list"], ["user", "list"], ["token", "list"], ["fsck"]):
        assert run([*words, "--config", str(file), "--data", str(tmp_path)]) == FAILED
        assert capsys.readouterr() == ("", f"duckmail: MongoDB does not answer: {address}\n"), words
