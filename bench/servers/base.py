"""What every server under test offers to the work items."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.embedded.child import LAUNCHER

HOST = "127.0.0.1"
DOMAIN = "mail.test"
PASSWORD = "bench-Pass-Word"


class NotInstalled(Exception):
    """This server is not on this machine; the text says what was missing."""


@dataclass(frozen=True, slots=True)
class Account:
    name: str

    @property
    def address(self) -> str:
        return f"{self.name}@{DOMAIN}"


class Server(ABC):
    """One server with data of its own under `folder`; the numbers are ports on 127.0.0.1."""

    name: str
    imap: int
    imaps: int
    lmtp: int

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    async def start(self) -> None:
        """Returns when it answers. Raises: NotInstalled."""

    @abstractmethod
    async def stop(self) -> None: ...

    @abstractmethod
    async def add_accounts(self, accounts: Sequence[Account]) -> None:
        """Accounts with the password `PASSWORD`, which log in with their address."""

    @property
    @abstractmethod
    def version(self) -> str: ...

    @property
    @abstractmethod
    def pids(self) -> Sequence[int]:
        """The processes whose trees are the whole server, its databases included."""


def start_bound(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """A child that gets SIGTERM when this program dies, however it dies. Call it from the main thread."""
    launcher = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), str(int(signal.SIGTERM))]
    return subprocess.Popen([*launcher, *command], stdin=subprocess.DEVNULL, **options)


def free_ports(count: int) -> list[int]:
    opened = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports: list[int] = [one.getsockname()[1] for one in opened]
    for one in opened:
        one.close()
    return ports


def new_folder(name: str, base: Path | None) -> Path:
    """A folder on a disk: a sync in memory would cost nothing, and nothing would be measured."""
    folder = Path(tempfile.mkdtemp(prefix=f"duckmail-bench-{name}-", dir=base))
    folder.chmod(0o755)
    return folder


def remove_folder(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def is_root() -> bool:
    return os.geteuid() == 0
