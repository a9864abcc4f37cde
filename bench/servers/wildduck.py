"""WildDuck: the npm package `wildduck` on node, over a mongod and a Valkey of its own, like duckmail's.

The package is not installed by us; say where it is: `npm install wildduck` in some folder, then `--wildduck FOLDER`.
"""

import asyncio
import json
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp

from bench.servers.base import HOST, PASSWORD, Account, NotInstalled, Server, free_ports, start_bound
from storage.embedded.folders import make_socket_folder
from storage.embedded.mongod import Mongod
from storage.embedded.valkey import SOCKET, Valkey

START_SECONDS = 60.0
STOP_SECONDS = 20.0

# WildDuck's defaults but for ports, databases, TLS on one of the two IMAP listeners, and what it writes to its log.
CONFIG = """
ident = "wildduck-bench"
[dbs]
mongo = "{mongo}"
[dbs.redis]
path = "{redis}"
db = 3
[log]
level = "warn"
[api]
port = {api}
[imap]
port = {imaps}
host = "{host}"
secure = true
[[imap.interface]]
enabled = true
port = {imap}
host = "{host}"
secure = false
ignoreSTARTTLS = true
[lmtp]
enabled = true
port = {lmtp}
[pop3]
enabled = false
[acme.agent]
enabled = false
"""
# One load generator on one address: limits made for people are in its way.
LIMITS: Mapping[str, int] = {"quota": 100 << 30, "imapMaxConnections": 10_000, "receivedMax": 100_000_000}


class WildDuck(Server):
    name = "wildduck"

    def __init__(self, folder: Path, package: Path | None = None) -> None:
        """`package`: the package's folder, or the one in whose `node_modules` it is."""
        super().__init__(folder)
        self._package = package
        self._databases: list[Mongod | Valkey] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._api = 0

    async def start(self) -> None:
        package, node = self._find(), shutil.which("node")
        if node is None:
            raise NotInstalled("node")
        run = make_socket_folder(self.folder)
        mongod, valkey = Mongod(self.folder / "mongod", run), Valkey(self.folder / "valkey", run)
        for database in (mongod, valkey):
            await database.start()
            self._databases.append(database)
        self.imap, self.imaps, self.lmtp, self._api = free_ports(4)
        server, _, options = mongod.uri.partition("/?")
        file = self.folder / "wildduck.toml"
        file.write_text(
            CONFIG.format(
                mongo=f"{server}/wildduck?{options}",
                redis=run / SOCKET,
                host=HOST,
                imap=self.imap,
                imaps=self.imaps,
                lmtp=self.lmtp,
                api=self._api,
            )
        )
        with (self.folder / "log").open("ab") as log:
            self._process = start_bound([node, "server.js", f"--config={file}"], cwd=package, stdout=log, stderr=log)
        await self._ready()

    def _find(self) -> Path:
        if self._package is None:
            raise NotInstalled("the npm package wildduck; say where it is with --wildduck")
        for folder in (self._package, self._package / "node_modules" / "wildduck"):
            if (folder / "server.js").is_file():
                return folder.resolve()
        raise NotInstalled(f"no npm package wildduck in {self._package}")

    async def _ready(self) -> None:
        async with asyncio.timeout(START_SECONDS):
            for port in (self._api, self.imap, self.imaps, self.lmtp):
                while True:
                    if self._process is None or self._process.poll() is not None:
                        raise NotInstalled(f"wildduck does not start: {(self.folder / 'log').read_text()[-500:]}")
                    try:
                        _, writer = await asyncio.open_connection(HOST, port)
                        writer.close()
                        break
                    except OSError:
                        await asyncio.sleep(0.1)

    async def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                await asyncio.to_thread(self._process.wait, STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        while self._databases:
            await self._databases.pop().stop()

    async def add_accounts(self, accounts: Sequence[Account]) -> None:
        async with aiohttp.ClientSession() as session:
            for account in accounts:
                body = {"username": account.name, "address": account.address, "password": PASSWORD, **LIMITS}
                async with session.post(f"http://{HOST}:{self._api}/users", json=body) as response:
                    answer = await response.json()
                    if not answer.get("success"):
                        raise RuntimeError(f"cannot make {account.address}: {answer}")

    @property
    def version(self) -> str:
        return f"WildDuck {json.loads((self._find() / 'package.json').read_text())['version']}"

    @property
    def pids(self) -> Sequence[int]:
        assert self._process is not None
        return (self._process.pid, *(database.child.pid for database in self._databases))
