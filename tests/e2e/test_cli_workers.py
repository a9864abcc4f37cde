"""`duckmail serve --workers`: processes that accept on the same sockets, of every kind, and outlive each other."""

import contextlib
import os
import signal
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from imapclient import IMAPClient

from tests.support.net import client_context
from tests.support.server_process import (
    DUCKMAIL,
    HOST,
    READY,
    Account,
    Databases,
    ServerProcess,
    make_message,
    wait_until,
)

DATABASE = "t_cli_workers"
WORKERS = 2


@pytest.fixture(scope="module")
def databases(mongo_uri: str, redis_url: str) -> Databases:
    return Databases(mongo_uri, DATABASE, redis_url, f"{DATABASE}:")


@pytest.fixture
def server(databases: Databases, tmp_path: Path) -> Iterator[ServerProcess]:
    """Two workers, with an LMTP socket beside the ports."""
    made = ServerProcess(tmp_path / "s", databases)
    made.configure({"lmtp": {"listen": [f"{HOST}:0", f"unix:{tmp_path}/lmtp.sock,mode=0600"]}})
    made.start("--workers", str(WORKERS))
    with contextlib.ExitStack() as stack:
        stack.callback(made.kill)
        yield made
        if made.running:
            made.stop()


@pytest.fixture
def anna(server: ServerProcess) -> Account:
    return server.add_account(f"anna{time.monotonic_ns()}")


def workers(server: ServerProcess) -> list[int]:
    lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in server.children() if alive(pid)}
    return [pid for pid, line in lines.items() if b"--worker\0" in line]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def connections(pid: int, port: int) -> int:
    """Established connections to `port` that the process holds."""
    inodes = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{port:04X}") and fields[3] == "01":
            inodes.add(f"socket:[{fields[9]}]")
    held = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            held += os.readlink(entry) in inodes
    return held


def session(server: ServerProcess, account: Account) -> IMAPClient:
    client = IMAPClient(HOST, server.imaps_port, ssl_context=client_context(), timeout=60)
    client.login(account.address, account.password)
    client.select_folder("INBOX")
    return client


def test_workers_see_each_others_changes(server: ServerProcess, anna: Account) -> None:
    pids = workers(server)
    assert len(pids) == WORKERS
    with contextlib.ExitStack() as stack:
        sessions: list[IMAPClient] = []
        while not all(connections(pid, server.imaps_port) for pid in pids):
            assert len(sessions) < 30, "one worker takes all connections"
            sessions.append(stack.enter_context(session(server, anna)))
        for client in sessions:
            client.idle()
        server.deliver(make_message("to all of them"), anna.address)
        for client in sessions:
            assert (1, b"EXISTS") in pushed(client)
            client.idle_done()
        sessions[0].add_flags(1, ["\\Flagged"])
        for client in sessions:
            client.noop()
            assert b"\\Flagged" in client.get_flags(1)[1]


def pushed(client: IMAPClient) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    deadline = time.monotonic() + 60
    while (1, b"EXISTS") not in found and time.monotonic() < deadline:
        found += client.idle_check(timeout=1)
    return found


def test_a_unix_socket_is_everybodys(server: ServerProcess, anna: Account, tmp_path: Path) -> None:
    path = tmp_path / "lmtp.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    for pid in workers(server):
        os.kill(pid, signal.SIGKILL)  # each in turn: the other one answers, then its successor
        with smtplib.LMTP(str(path), 0, local_hostname="relay.test") as client:
            assert client.sendmail("a@b.example", [anna.address], make_message(f"by {pid}")) == {}
        wait_until(lambda: len(workers(server)) == WORKERS, 60, "the worker to be started again")
    assert len(server.messages(anna)) == WORKERS
    server.send(signal.SIGTERM)  # not `stop`, to which the deaths in the log are errors
    assert server.process is not None
    assert server.process.wait(60) == 0


def test_everything_ends_with_sigterm(server: ServerProcess, tmp_path: Path) -> None:
    left = server.children()
    with socket.create_connection((HOST, server.imap_port), timeout=60) as open_session:
        assert open_session.recv(1000).startswith(b"* OK")
        server.stop()
        assert open_session.recv(1000).startswith(b"* BYE")
    assert not any(alive(pid) for pid in left)
    assert not (tmp_path / "lmtp.sock").exists()


def test_everything_ends_with_the_parent(server: ServerProcess) -> None:
    left = workers(server)
    port = server.imap_port
    server.kill()
    wait_until(lambda: not any(alive(pid) for pid in left), 60, "the workers to end")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, port), timeout=60)


def test_sighup_reaches_all(server: ServerProcess) -> None:
    server.send(signal.SIGHUP)  # at once: who says that it runs, can be told so

    def reloaded() -> int:
        return sum(line["message"] == "reloaded" for line in server.log_lines())

    wait_until(lambda: reloaded() == WORKERS, 60, "all workers to reload")


def test_sockets_of_systemd_are_shared(databases: Databases, tmp_path: Path) -> None:
    """What systemd does: descriptors from 3 on, their names and the process id in the environment."""
    server = ServerProcess(tmp_path / "s", databases)
    server.configure({"imap": {"listen": ["systemd:imap"], "listen_tls": []}})
    become = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True);"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='imap');"
        "os.execv(sys.executable, sys.argv[2:])"
    )
    with socket.create_server((HOST, 0)) as passed:
        port = passed.getsockname()[1]
        argv = [sys.executable, "-c", become, str(passed.fileno()), *DUCKMAIL]
        argv += ["serve", "--config", str(server.file), "--workers", str(WORKERS)]
        with (tmp_path / "out").open("wb") as out, (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(argv, stdout=out, stderr=log, pass_fds=[passed.fileno()])
    try:
        wait_until(lambda: READY in (tmp_path / "out").read_text(), 100, "the server to be ready")
        for _ in range(4):
            with socket.create_connection((HOST, port), timeout=60) as client:
                assert client.recv(1000).startswith(b"* OK")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        pytest.param({"tls": {"certificate": "/dev/null", "key": "/dev/null"}}, "certificate", id="no-certificate"),
        pytest.param({"imap": {"listen": ["unix:/nowhere/x.sock"]}}, "cannot listen on", id="no-folder"),
    ],
)
def test_what_no_worker_could_do_ends_the_start(
    databases: Databases, tmp_path: Path, sections: dict[str, dict[str, object]], said: str
) -> None:
    server = ServerProcess(tmp_path / "s", databases, sections)
    found = server.run("serve", "--workers", "2")
    assert (found.returncode, found.stdout) == (1, "")
    last = found.stderr.splitlines()[-1]
    assert last.startswith("duckmail: ")
    assert said in last
    assert "Traceback" not in found.stderr
