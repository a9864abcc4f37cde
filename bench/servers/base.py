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

from bench.clients import imap
from bench.clients.imap import ImapClient
from storage.embedded.child import LAUNCHER

HOST = "127.0.0.1"
DOMAIN = "mail.test"
PASSWORD = "bench-Pass-Word"
ELSEWHERE = "elsewhere.test"  # a domain whose mail goes to the relay

# What a server may offer.
IMAP, LMTP, POP3, SUBMISSION = "IMAP", "LMTP", "POP3", "submission"


class NotInstalled(Exception):
    """This server is not on this machine; the text says what was missing."""


@dataclass(frozen=True, slots=True)
class Account:
    name: str

    @property
    def address(self) -> str:
        return f"{self.name}@{DOMAIN}"


class Inbox(ABC):
    """The INBOX of one account, looked at from outside."""

    @abstractmethod
    async def count(self) -> int:
        """Messages in it."""

    async def close(self) -> None:  # noqa: B027 (not all hold something)
        """Ends what `Server.inbox` began."""


class ImapInbox(Inbox):
    def __init__(self, client: ImapClient) -> None:
        self._client = client

    async def count(self) -> int:
        answer = await self._client.command(b"STATUS INBOX (MESSAGES)")
        return int(answer.partition(b"(MESSAGES ")[2].partition(b")")[0])

    async def close(self) -> None:
        self._client.close()


class Server(ABC):
    """One server with data of its own under `folder`; the numbers are ports on 127.0.0.1.

    `relay`: the port that takes mail for other domains; set it before `start`, 0 for none. `offers`: known after it.
    """

    name: str
    offers: frozenset[str] = frozenset({IMAP, LMTP})
    imap: int
    imaps: int
    lmtp: int
    pop3: int
    submission: int
    relay: int = 0

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

    async def inbox(self, account: Account) -> Inbox:
        """To count what arrives there."""
        client = await imap.connect(HOST, self.imap)
        await client.login(account.address, PASSWORD)
        return ImapInbox(client)

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
