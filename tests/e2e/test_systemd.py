"""The units, and what the running server and systemd say to each other: sockets, readiness, signs of life, the end."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from duckmail.app.listeners import open_listeners
from duckmail.cli import workers as workers_module
from duckmail.cli.workers import Workers
from duckmail.config.load import load
from duckmail.config.schema import Config
from tests.support.ports import free_port
from tests.support.server_process import (
    DUCKMAIL,
    HOST,
    READY,
    ServerProcess,
    wait_until,
)

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
ACTIVATE = "systemd-socket-activate"

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")


# -- the units -----------------------------------------------------------------------------------------------------


def analyze(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *argv], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with programs that exist on this machine in place of those of an installation."""
    for unit in UNITS.glob("duckmail*"):
        text = unit.read_text()
        assert re.findall(r"^ExecStart=/opt/duckmail/bin/", text, re.M) or unit.suffix == ".socket"
        (tmp_path / unit.name).write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", text))
    return tmp_path


@needs_systemd
def test_units_have_no_mistake(units: Path) -> None:
    found = analyze("verify", "--man=no", *(str(unit) for unit in sorted(units.iterdir())))
    complaints = [line for line in found.stderr.splitlines() if "duckmail" in line]
    assert (found.returncode, complaints) == (0, [])


@needs_systemd
@pytest.mark.parametrize("unit", SERVICES)
def test_services_are_locked_in(units: Path, unit: str) -> None:
    """`--threshold`: ten times the exposure, which reaches from 0 (none) to 10."""
    found = analyze("security", "--offline=true", "--threshold=20", "--no-pager", str(units / unit))
    assert found.returncode == 0, found.stdout + found.stderr


def sockets_of(unit: Path) -> list[str]:
    """In the words of duckmail.toml."""
    streams = re.findall(r"(?m)^ListenStream=(\S+)", unit.read_text())
    return [f"unix:{stream}" if stream.startswith("/") else stream for stream in streams]


def listeners_of(config: Config) -> list[str]:
    sections = [getattr(config, name) for name in type(config).model_fields]
    found = [(*getattr(section, "listen", ()), *getattr(section, "listen_tls", ())) for section in sections]
    return [text for listed in found for text in listed]


def test_the_least_configuration_uses_every_socket() -> None:
    """And asks for no port below 1024 that the service could not open by itself."""
    listeners = listeners_of(load(ROOT / "config/minimal.toml"))
    passed = sockets_of(UNITS / "duckmail.socket")
    assert set(passed) <= set(listeners)
    alone = [text for text in listeners if text not in passed]
    assert all(int(text.rpartition(":")[2]) >= 1024 for text in alone), alone


# -- sockets -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def activated(
    server: ServerProcess, sockets: Sequence[str], names: str, *argv: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A server that systemd's tool starts at the first connection to one of `sockets`."""
    options = [part for one in sockets for part in ("--listen", one)]
    keep = [f"--setenv={name}" for name in ("PATH", "HOME")]
    command = [ACTIVATE, *options, f"--fdname={names}", *keep, *DUCKMAIL, "serve", "--config", str(server.file), *argv]
    with server.printed.open("wb") as printed, server.log.open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=printed, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def greeting(address: tuple[str, int] | str, seconds: float = 40) -> bytes:
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as client:
        client.settimeout(seconds)
        client.connect(address)
        return client.recv(1000)


@needs_systemd
@pytest.mark.parametrize("argv", [pytest.param((), id="one-process"), pytest.param(("--workers", "2"), id="workers")])
@pytest.mark.parametrize("by_name", [pytest.param(True, id="by-name"), pytest.param(False, id="by-address")])
def test_sockets_are_activated(process: ServerProcess, tmp_path: Path, by_name: bool, argv: Sequence[str]) -> None:
    """The first connection starts the server, and waits in the socket until it is answered; nothing is opened anew."""
    imap, spare, path = free_port(), free_port(), str(tmp_path / "lmtp.sock")
    addresses = [f"{HOST}:{imap}", path, f"{HOST}:{spare}"]
    listen = [f"{HOST}:{imap}", f"unix:{path}"] if not by_name else ["systemd:imap", "systemd:lmtp"]
    process.configure({"imap": {"listen": [listen[0]], "listen_tls": []}, "lmtp": {"listen": [listen[1]]}})
    with activated(process, addresses, "imap:lmtp:spare", *argv) as running:
        wait_until(lambda: Path(path).exists(), 10, "the sockets")
        assert greeting((HOST, imap)).startswith(b"* OK")
        assert greeting(path).startswith(b"220 ")
        wait_until(lambda: READY in process.welcome, 100, "the welcome")
        assert f"{HOST}:{imap}" in process.welcome
        [lost] = [line for line in process.log.read_text().splitlines() if "is in no list of listeners" in line]
        assert json.loads(lost)["address"] == f"{HOST}:{spare}"
        running.send_signal(signal.SIGTERM)
        assert running.wait(15) == 0
    assert Path(path).exists()  # it is systemd's


# -- readiness, reloads, signs of life -----------------------------------------------------------------------------


class Manager:
    """systemd's end of the notification socket; keeps all it was told."""

    def __init__(self, path: Path) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._sock.bind(str(path))
        self._told: list[str] = []

    def told(self) -> list[str]:
        """The first line of each message."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._told.append(self._sock.recv(4096).decode().split("\n")[0])
        return self._told

    def wait(self, wanted: str, seconds: float = 60) -> None:
        wait_until(lambda: wanted in self.told(), seconds, f"{wanted}; told was {self._told}")

    def forget(self) -> None:
        self.told()
        self._told.clear()

    def close(self) -> None:
        self._sock.close()


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """The servers that the test starts have it, with a watchdog of one second."""
    made = Manager(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    yield made
    made.close()


@pytest.mark.parametrize("argv", [pytest.param((), id="one-process"), pytest.param(("--workers", "2"), id="workers")])
def test_systemd_is_told(process: ServerProcess, manager: Manager, argv: Sequence[str]) -> None:
    process.start(*argv)
    manager.wait("READY=1")
    # Ready means that it answers.
    assert greeting((HOST, process.imap_port)).startswith(b"* OK")
    assert manager.told()[0] == "READY=1"
    manager.forget()
    wait_until(lambda: manager.told().count("WATCHDOG=1") >= 3, 60, "signs of life")
    assert set(manager.told()) == {"WATCHDOG=1"}

    manager.forget()
    process.send(signal.SIGHUP)
    manager.wait("READY=1")
    assert [word for word in manager.told() if word != "WATCHDOG=1"] == ["RELOADING=1", "READY=1"]

    manager.forget()
    process.send(signal.SIGSTOP)
    time.sleep(0.2)
    manager.forget()
    time.sleep(1.5)
    assert manager.told() == []  # here systemd would end it
    process.send(signal.SIGCONT)
    manager.wait("WATCHDOG=1")

    manager.forget()
    process.stop()
    assert [word for word in manager.told() if word != "WATCHDOG=1"] == ["STOPPING=1"]


def test_a_start_that_fails_is_no_readiness(process: ServerProcess, manager: Manager) -> None:
    process.configure({"imap": {"listen": ["unix:/nowhere/x.sock"]}})
    assert process.run("serve").returncode == 1
    assert manager.told() == []


def test_no_child_can_speak_for_the_server(tmp_path: Path, manager: Manager) -> None:
    """Embedded databases and workers know nothing of systemd."""
    server = ServerProcess(tmp_path / "s")
    try:
        server.start("--workers", "2")
        manager.wait("READY=1")
        children = server.children()
        assert len(children) == 4
        for child in children:
            assert b"NOTIFY_SOCKET" not in Path(f"/proc/{child}/environ").read_bytes()
            assert b"WATCHDOG" not in Path(f"/proc/{child}/environ").read_bytes()
        server.stop()
    finally:
        server.kill()


async def test_a_worker_that_hangs_is_replaced(
    process: ServerProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workers_module, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(workers_module, "HUNG_SECONDS", 3.0)
    config = load(process.file)
    opened = open_listeners(config)
    [imap] = [each.address for one in opened for each in one.sockets if one.label == "IMAP, STARTTLS"]
    port = int(imap.rpartition(":")[2])
    async with Workers(config, process.file, 1, opened):
        before = only_worker()
        time.sleep(4)  # this process stands still, the worker does not: it is left alone
        await settle(lambda: greets(port))
        assert only_worker() == before
        os.kill(before, signal.SIGSTOP)
        await settle(lambda: only_worker() not in (before, 0) and greets(port))
    assert "worker gives no sign of life" in [record.getMessage() for record in caplog.records]


async def settle(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


def greets(port: int) -> bool:
    with contextlib.suppress(OSError):
        return greeting((HOST, port), 5).startswith(b"* OK")
    return False


def only_worker() -> int:
    """The process id of this process's worker; 0 when there is none just now."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    for pid in children:
        with contextlib.suppress(FileNotFoundError):
            if b"--worker\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return int(pid)
    return 0
