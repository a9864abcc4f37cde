"""`duckmail serve` as a newcomer meets it: embedded databases in a fresh folder, and what can be missing."""

import os
import re
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from imapclient.exceptions import LoginError

from tests.support.server_process import DOMAIN, DUCKMAIL, Account, ServerProcess, make_message, wait_until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """Not started yet; killed at the end."""
    made = ServerProcess(tmp_path)
    yield made
    made.kill()


def shown(text: str, name: str) -> str:
    found = re.search(rf"^ *{name} +(.*)$", text, re.MULTILINE)
    assert found, text
    return found[1]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_first_start_restart_and_kill(server: ServerProcess) -> None:
    text = server.start()
    demo = Account("", shown(text, "login"), shown(text, "password"))
    assert shown(text, "address") == f"demo@{DOMAIN}"
    assert "for trial use only" in text
    token = shown(text, "API token")
    for label in ("IMAP, STARTTLS", "IMAP, TLS", "LMTP", "API"):
        assert re.fullmatch(r"127\.0\.0\.1:\d+", shown(text, label))

    # Nobody else on the machine can read anything of it.
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
    secrets = (demo.password.encode(), token.encode(), b"PRIVATE KEY")
    holding = 0
    for file in server.data.glob("*"):
        if file.is_file() and any(secret in file.read_bytes() for secret in secrets):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
            holding += 1
    assert holding == 2
    assert stat.S_IMODE((server.data / "tls/self-signed.key").stat().st_mode) == 0o600

    # It works at once, and what it holds is there after a restart and after a crash.
    server.deliver(make_message("one"), f"demo@{DOMAIN}")
    with server.imap(demo) as client:
        client.append("INBOX", make_message("two"), [b"\\Flagged"])
        client.create_folder("Kept/here")
    server.stop()

    text = server.start()
    assert demo.password not in text
    assert token not in text
    assert shown(text, "password").endswith("demo-account")
    with server.imap(demo) as client:
        assert client.select_folder("INBOX")[b"EXISTS"] == 2
        assert client.search("FLAGGED") == [2]
        assert client.folder_exists("Kept/here")
    server.deliver(make_message("three"), f"demo@{DOMAIN}")

    # kill -9: its databases end with it, and the folder is free for the next start at once.
    children = server.children()
    names = {Path(f"/proc/{pid}/comm").read_text().strip() for pid in children}
    assert names == {"mongod", "valkey-server"}
    server.kill()
    wait_until(lambda: all(gone(pid) for pid in children), 10, "mongod and Valkey to end")
    server.start()
    assert [len(each) > 0 for each in server.messages(demo)] == [True] * 3
    token_file = server.data / "api-token"
    assert server.api("GET", "/users")["total"] == 1
    assert token_file.read_text().strip() == token
    server.stop()


def test_accounts_by_the_command_line_beside_a_running_server(server: ServerProcess) -> None:
    server.start()
    anna = Account("", f"anna@{DOMAIN}", "first-password")
    assert server.run("user", "add", anna.address, "--quota", "2 MiB", stdin=f"{anna.password}\n").returncode == 0
    assert server.messages(anna) == []
    server.deliver(make_message("hello"), anna.address)
    assert len(server.messages(anna)) == 1
    listed = server.run("user", "list").stdout
    assert re.search(rf"^[0-9a-f]{{24}} +{re.escape(anna.address)} ", listed, re.MULTILINE)
    assert "demo" in listed

    assert server.run("user", "password", anna.address, stdin="second-password\n").returncode == 0
    with pytest.raises(LoginError):
        server.messages(anna)
    anna = Account("", anna.address, "second-password")
    assert len(server.messages(anna)) == 1

    assert server.run("user", "remove", anna.address).returncode == 0
    with pytest.raises(LoginError):
        server.messages(anna)
    with pytest.raises(AssertionError, match=r"5\.1\.1"):
        server.deliver(make_message("too late"), anna.address)
    assert anna.address not in server.run("user", "list").stdout
    server.stop()


def test_every_mistake_of_a_configuration_is_told_at_once(server: ServerProcess) -> None:
    server.configure(
        {
            "imap": {"listen": ["nowhere"], "idle_timeout": "soon", "colour": "blue"},
            "lmtp": {"peers": ["10.0.0.0/99"]},
            "limits": {"message_size": "64 parrots"},
            "log": {"level": "loud"},
            "sky": {"blue": True},
        }
    )
    done = server.run("serve")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    wanted = (
        "imap.listen",
        "imap.idle_timeout",
        "imap.colour",
        "lmtp.peers",
        "limits.message_size",
        "log.level",
        "sky",
    )
    assert len(lines) == len(wanted), done.stderr
    for key in wanted:
        assert any(key in line for line in lines), (key, lines)
    assert not server.data.exists()


def in_namespace(commands: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """Runs `argv` where `commands` have changed the mounts; nobody else sees the change."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root may change mounts for a process")
    command = ["unshare", "-m", "sh", "-c", f'( {commands} ) || exit 99; exec "$@"', "sh", *argv]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    if done.returncode == 99:
        pytest.skip(f"mounts cannot be changed here: {done.stderr.strip()}")
    return done


def test_what_is_missing_is_one_clear_line(server: ServerProcess, tmp_path: Path) -> None:
    """A machine without libcurl, and one whose processor has no AVX, as mounts show it."""
    serve = [*DUCKMAIL, "serve", "--config", str(server.file)]
    libraries = next(iter(Path("/usr/lib").glob("*/libcurl.so.4")), None)
    if libraries is None:
        pytest.skip("libcurl is really missing")
    over, under = tmp_path / "over", libraries.parent
    over.mkdir()
    options = f"lowerdir={under},upperdir={over}/u,workdir={over}/w"
    hide = f"mount -t tmpfs none {over} && mkdir {over}/u {over}/w && mount -t overlay -o {options} none {under}"
    done = in_namespace(f"{hide} && rm {under}/libcurl.so.4*", *serve)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last == "duckmail: The embedded MongoDB needs the system library libcurl.so.4: apt-get install libcurl4"
    assert "Traceback" not in done.stderr

    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu sse sse2\n")
    done = in_namespace(f"mount --bind {cpuinfo} /proc/cpuinfo", *serve)
    assert done.returncode == 1
    assert "needs a processor with AVX: set mongo.uri in duckmail.toml" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_interrupted_while_it_starts(server: ServerProcess) -> None:
    """SIGTERM before it is ready leaves nothing running; the next start works."""
    process = subprocess.Popen(
        [*DUCKMAIL, "serve", "--config", str(server.file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    wait_until((server.data / "lock").exists, 60, "the data folder to be taken")
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert b"Traceback" not in errors
    server.start()
    server.stop()
