"""Real databases and real `duckmail serve` processes, to be killed."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from pymongo import AsyncMongoClient

from duckmail.config.load import parse
from duckmail.config.schema import Config
from duckmail.runtime.threads import Pool
from duckmail.services.access import SYSTEM
from duckmail.services.passwords import Passwords
from duckmail.services.users import NewUser, Users
from storage.embedded.folders import DataLock, make_socket_folder
from storage.embedded.mongod import Mongod
from storage.embedded.valkey import Valkey
from storage.store import Store
from tests.faults.wire import Imap, LostError
from tests.support.commands import Running, start
from tests.support.ports import free_ports
from tests.support.servers import new_data_folder

HOST = "mail.test"
PASSWORD = "secret-enough"
READY_SECONDS = 300.0  # usually two; a machine that is busy with all else takes a minute
DATABASE = "faults"
CONFIG = """
[server]
data = "var"
hostname = "{host}"
[mongo]
uri = "{mongo}"
database = "{database}"
[redis]
url = "{redis}"
[imap]
listen = ["127.0.0.1:{imap}"]
listen_tls = []
plaintext_login = true
[lmtp]
listen = ["127.0.0.1:{lmtp}"]
[pop3]
listen = ["127.0.0.1:{pop3}"]
listen_tls = []
plaintext_login = true
[submission]
listen = ["127.0.0.1:{submission}"]
listen_tls = []
plaintext_login = true
[metrics]
enabled = false
[api]
enabled = false
[limits]
per_user = 200
quota = "20 GiB"
received = 0
[log]
level = "warning"
"""


class Serve:
    """One `duckmail serve` process with a data folder and ports of its own; databases too where `mongo` is empty."""

    def __init__(
        self, folder: Path, mongo: str, redis: str, extra: str = "", host: str = HOST, first: str = ""
    ) -> None:
        """`first`: a statement that its process executes before anything else."""
        self.folder = folder
        self.host = host
        self.imap, self.lmtp, self.pop3, self.submission = free_ports(4)
        folder.mkdir(parents=True, exist_ok=True)
        databases = {"mongo": mongo, "database": DATABASE, "redis": redis}
        ports = {"imap": self.imap, "lmtp": self.lmtp, "pop3": self.pop3, "submission": self.submission}
        text = CONFIG.format(host=host, **databases, **ports)
        self.file = folder / "duckmail.toml"
        self.file.write_text(text + extra)
        self.config: Config = parse(text + extra, "faults", folder)
        self.log = folder / "log"
        self.starts = 0
        self._first = first
        self._process: subprocess.Popen[bytes] | Running | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        self.starts += 1
        if not self._first:
            self._process = start("serve", "--config", str(self.file), printed=self.log, log=self.log)
            return
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self.command("serve"), stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def command(self, *words: str) -> list[str]:
        """A duckmail command with this configuration."""
        program = (
            ["-c", f"{self._first}; from duckmail.cli import main; main()"] if self._first else ["-m", "duckmail.cli"]
        )
        return [sys.executable, "-P", *program, *words, "--config", str(self.file)]

    async def ready(self) -> float:
        """Waits for IMAP's greeting; the seconds that took. Raises: AssertionError with the end of its log."""
        begun = time.monotonic()
        while time.monotonic() - begun < READY_SECONDS:
            if not self.alive:
                raise AssertionError(f"duckmail ended by itself: {self.tail()}")
            with contextlib.suppress(LostError):
                (await Imap.connect(self.imap)).close()
                return time.monotonic() - begun
            await asyncio.sleep(0.02)
        raise AssertionError(f"duckmail is not ready after {READY_SECONDS:.0f} s: {self.tail()}")

    def kill(self) -> None:
        """kill -9, and gone when this returns."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    async def stop(self) -> int:
        """SIGTERM; its exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            while (status := self._process.poll()) is None:
                await asyncio.sleep(0.02)
        return status

    def tail(self, octets: int = 1500) -> str:
        return self.log.read_bytes()[-octets:].decode("utf-8", "replace") if self.log.exists() else ""

    def memory(self, key: str = "VmHWM") -> int:
        """Octets: VmHWM is the peak of what was resident."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1]) * 1024
        raise KeyError(key)


class Rig:
    """A MongoDB, a Valkey, and `processes` servers on them. `redis` False: the servers look for a Valkey in vain."""

    def __init__(self, data: Path, processes: int = 1, *, redis: bool = True, extra: str = "", first: str = "") -> None:
        run = make_socket_folder(data)
        self.data = data
        self.mongod = Mongod(data / "mongod", run)
        self.valkey = Valkey(data / "valkey", run)
        self._redis = redis
        uris = self.mongod.uri, self.valkey.url
        self.serves = [Serve(data / f"serve{n}", *uris, extra, f"serve{n}.{HOST}", first) for n in range(processes)]

    async def start(self) -> None:
        await self.start_mongod()
        if self._redis:
            await self.valkey.start()

    async def start_serves(self) -> None:
        for serve in self.serves:
            serve.start()
        for serve in self.serves:
            await serve.ready()

    async def start_mongod(self) -> float:
        """As production has it: a dead client's transaction stays open for a minute, so our own leases must end it."""
        begun = time.monotonic()
        await self.mongod.start()
        async with AsyncMongoClient[dict[str, object]](self.mongod.uri) as client:
            await client.admin.command({"setParameter": 1, "transactionLifetimeLimitSeconds": 60})
        return time.monotonic() - begun

    async def kill_mongod(self) -> None:
        os.kill(self.mongod.child.pid, signal.SIGKILL)
        while self.mongod.child.status() is None:
            await asyncio.sleep(0.005)

    async def add_accounts(
        self, names: Sequence[str], attributes: Mapping[str, Mapping[str, object]] | None = None
    ) -> None:
        """Accounts with the password `PASSWORD` and the address `<name>@HOST`; `attributes`: of some of them."""
        pool = Pool("passwords", 2)
        try:
            async with self.store() as store:
                users = Users(store.users, store.addresses, Passwords(pool), HOST)
                for name in names:
                    own = (attributes or {}).get(name, {})
                    limits = {"imap_max_connections": 200, **own}
                    await users.create(NewUser(username=name, password=PASSWORD, attributes=limits), SYSTEM)
        finally:
            pool.close()

    @asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        """A look into the database as one more process."""
        pool = Pool("look", 2)
        try:
            async with Store(self.mongod.uri, DATABASE, None, "look", pool) as store:
                yield store
        finally:
            pool.close()

    async def stop(self) -> None:
        for serve in self.serves:
            if serve.alive:
                serve.kill()
        await self.valkey.stop()
        await self.mongod.stop()


@asynccontextmanager
async def rig(
    processes: int = 1,
    *,
    accounts: Sequence[str] = ("anna", "bert"),
    attributes: Mapping[str, Mapping[str, object]] | None = None,
    redis: bool = True,
    extra: str = "",
    first: str = "",
    data: Path | None = None,
) -> AsyncIterator[Rig]:
    """A running rig with accounts, in a folder of its own that is removed behind it."""
    folder = data or new_data_folder()
    # The lock is what tells a folder in use from one that a killed run has left.
    with DataLock(folder):
        one = Rig(folder, processes, redis=redis, extra=extra, first=first)
        try:
            await one.start()
            await one.add_accounts(accounts, attributes)
            await one.start_serves()
            yield one
        finally:
            await one.stop()
            shutil.rmtree(folder, ignore_errors=True)
