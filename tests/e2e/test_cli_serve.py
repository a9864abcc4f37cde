"""The command line from outside: real processes, real signals."""

import imaplib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from duckmail.cli.commands import COMMANDS, Command, run
from tests.support.commands import duckmail
from tests.support.ports import free_ports

DUCKMAIL = [sys.executable, "-P", "-m", "duckmail.cli"]
CONFIG = """
[server]
data = "var"
hostname = "mail.test"
[imap]
listen = ["127.0.0.1:{imap}"]
listen_tls = ["127.0.0.1:{imaps}"]
[lmtp]
listen = ["127.0.0.1:{lmtp}"]
[api]
listen = ["127.0.0.1:{api}"]
"""


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    return dict(zip(("imap", "imaps", "lmtp", "api"), free_ports(4), strict=True))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, ports: dict[str, int]) -> Path:
    file = tmp_path_factory.mktemp("cli") / "duckmail.toml"
    file.write_text(CONFIG.format(**ports))
    return file


@contextmanager
def serving(config: Path, *argv: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running server and what it printed at its start; killed at the end if it still runs."""
    errors = config.with_name("errors.log")
    with errors.open("a") as log:
        process = subprocess.Popen(
            [*DUCKMAIL, "serve", "--config", str(config), *argv], stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout is not None
    lines: list[str] = []
    try:
        for line in process.stdout:
            lines.append(line)
            if "embedded ones" in line:
                break
        assert lines, errors.read_text()[-2000:]
        yield process, "".join(lines)
    finally:
        process.kill()
        process.communicate(timeout=20)


def stop(process: subprocess.Popen[str]) -> float:
    """Seconds that a drained stop took; its exit status was 0."""
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    return time.monotonic() - begun


def log_in(port: int, name: str, password: str) -> imaplib.IMAP4_SSL:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for _ in range(100):
        try:
            client = imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=context, timeout=20)
            break
        except ConnectionRefusedError:  # workers are still starting
            time.sleep(0.1)
    client.login(name, password)
    return client


def shown(text: str, name: str) -> str:
    found = re.search(rf"^ *{name} +(.*)$", text, re.MULTILINE)
    assert found, text
    return found[1]


def test_life_of_a_trial_server(config: Path, ports: dict[str, int]) -> None:
    data = config.parent / "var"
    with serving(config) as (process, text):
        password = shown(text, "password")
        assert shown(text, "address") == "demo@mail.test"
        assert f"127.0.0.1:{ports['imaps']}" in text
        assert f"127.0.0.1:{ports['api']}" in text
        for name in ("demo-account", "api-token", "tls/self-signed.key"):
            assert (data / name).stat().st_mode & 0o777 == 0o600
        assert (data / "demo-account").read_text().strip() == password
        assert (data / "api-token").read_text().strip() == shown(text, "API token")
        with log_in(ports["imaps"], "demo", password) as client:
            assert client.select("INBOX")[0] == "OK"

        second = duckmail("serve", "--config", str(config))
        assert second.returncode == 1
        assert second.stderr.splitlines()[-1].endswith(f"in use by another duckmail (process {process.pid})")
        assert "Traceback" not in second.stderr

        added = duckmail("user", "add", "anna@mail.test", "--config", str(config), stdin="fishmonger\n")
        assert added.returncode == 0, added.stderr
        log_in(ports["imaps"], "anna@mail.test", "fishmonger").logout()
        doctor = duckmail("doctor", "--config", str(config))
        assert (doctor.returncode, doctor.stdout.splitlines()[-1]) == (0, "all is well"), doctor.stdout + doctor.stderr
        assert "gave the message back" in doctor.stdout
        listed = duckmail("user", "list", "--config", str(config)).stdout
        assert "doctor" not in listed

        process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 60
        while "certificates reloaded" not in config.with_name("errors.log").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert stop(process) < 10
    doctor = duckmail("doctor", "--config", str(config))
    assert doctor.returncode == 1
    assert "FAIL  delivered" in doctor.stdout
    assert "FAIL  read" in doctor.stdout

    with serving(config) as (process, text):
        assert password not in text
        assert shown(text, "password").endswith("demo-account")
        log_in(ports["imaps"], "demo", password).logout()
        assert stop(process) < 10


def test_ports_in_use_are_one_line(config: Path, ports: dict[str, int]) -> None:
    with socket.create_server(("127.0.0.1", ports["lmtp"])):
        for argv in ((), ("--workers", "2")):
            found = duckmail("serve", "--config", str(config), *argv)
            assert found.returncode == 1
            last = found.stderr.splitlines()[-1]
            assert (
                last
                == f"duckmail: cannot listen on 127.0.0.1:{ports['lmtp']}: the address is in use by another program"
            )


def test_workers_share_ports_and_come_back(config: Path, ports: dict[str, int]) -> None:
    password = (config.parent / "var/demo-account").read_text().strip()
    with serving(config, "--workers", "2") as (process, _):
        log_in(ports["imaps"], "demo", password).logout()
        workers = children(process.pid, "--worker ")
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        deadline = time.monotonic() + 60
        while len(set(children(process.pid, "--worker ")) - {workers[0]}) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        log_in(ports["imaps"], "demo", password).logout()
        left = children(process.pid, "")
        assert stop(process) < 10
        assert not any(alive(pid) for pid in left)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(parent: int, words: str) -> list[int]:
    """Running child processes whose command line holds `words`."""
    found = []
    for number in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        line = Path(f"/proc/{number}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        if words in line and alive(int(number)):
            found.append(int(number))
    return found


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_its_help(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        run([command.name, "--help"])
    found = capsys.readouterr()
    assert found.err == ""
    assert f"usage: duckmail {command.name}" in found.out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        pytest.param(["--help"], "doctor", id="help-lists-the-commands"),
        pytest.param(["--version"], "duckmail 0.", id="version"),
        pytest.param(["user", "add", "--help"], "user name to log in with", id="help-of-a-command"),
    ],
)
def test_the_program_starts(argv: list[str], said: str) -> None:
    found = subprocess.run([*DUCKMAIL, *argv], capture_output=True, text=True, timeout=100, check=True)
    assert said in found.stdout
    assert found.stderr == ""


@pytest.mark.parametrize(
    ("argv", "stdin", "status", "said"),
    [
        pytest.param([], "", 2, "usage: duckmail", id="no-command"),
        pytest.param(["fly"], "", 2, "invalid choice", id="unknown-command"),
        pytest.param(["config", "check", "--config", "/nowhere/x.toml"], "", 1, "cannot be read", id="no-such-file"),
        pytest.param(["config", "generate"], "", 0, "# listen_tls", id="generate"),
        pytest.param(["user", "add", "x"], "\n", 1, "No password was given", id="empty-password"),
        pytest.param(
            ["user", "add", "x", "--password", "y"], "", 2, "unrecognized arguments", id="no-password-argument"
        ),
        pytest.param(["user", "add", "x", "--quota", "big"], "", 2, "must be a size", id="quota-is-no-size"),
        pytest.param(["serve", "--workers", "0"], "", 2, "from 1 to 64", id="no-workers"),
    ],
)
def test_command_lines(argv: list[str], stdin: str, status: int, said: str) -> None:
    found = duckmail(*argv, stdin=stdin)
    assert found.returncode == status
    assert said in found.stdout + found.stderr
    assert "Traceback" not in found.stderr


def test_config_check_reports_every_mistake_on_its_own_line(tmp_path: Path) -> None:
    file = tmp_path / "d.toml"
    file.write_text('[imap]\nlisten = ["x"]\nstartls = true\n[api]\ntoken = "geheim"\nlisten = 3\n')
    found = duckmail("config", "check", "--config", str(file))
    assert found.returncode == 1
    assert len(found.stderr.splitlines()) == 3
    assert all(line.startswith(f"duckmail: {file}: ") for line in found.stderr.splitlines())
    file.write_text('[api]\ntoken = "geheim"\n')
    found = duckmail("config", "show", "--config", str(file))
    assert (found.returncode, "geheim" in found.stdout) == (0, False)


def test_users_come_and_go(tmp_path: Path, mongo_uri: str, database_name: str) -> None:
    file = tmp_path / "d.toml"
    file.write_text(f'[mongo]\nuri = "{mongo_uri}"\ndatabase = "{database_name}"\n')
    where = ["--config", str(file)]
    assert duckmail("user", "add", "anna", "--address", "a@b.example", *where, stdin="fishmonger\n").returncode == 0
    again = duckmail("user", "add", "anna", *where, stdin="fishmonger\n")
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    listed = duckmail("user", "list", *where).stdout
    assert re.search(r"^[0-9a-f]{24} +anna +a@b\.example +0$", listed, re.MULTILINE)
    assert duckmail("user", "password", "nobody", *where, stdin="fishmonger\n").returncode == 1
    assert duckmail("user", "password", "anna", *where, stdin="other-one\n").returncode == 0
    assert duckmail("user", "remove", "anna", *where).returncode == 0
    assert duckmail("user", "list", *where).stdout == ""


def test_users_are_added_before_the_first_start(tmp_path: Path) -> None:
    added = duckmail("user", "add", "anna", "--data", str(tmp_path / "var"), stdin="fishmonger\n")
    assert (added.returncode, added.stderr) == (0, "")
    assert not (tmp_path / "var/demo-account").exists()
