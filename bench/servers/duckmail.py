"""duckmail itself: `duckmail serve` as a child with its embedded databases, everything in a folder of its own."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp

from bench.servers.base import (
    HOST,
    IMAP,
    LMTP,
    PASSWORD,
    POP3,
    SUBMISSION,
    Account,
    NotInstalled,
    Server,
    start_bound,
)
from duckmail import __version__

START_SECONDS = 90.0
STOP_SECONDS = 30.0
FSCK_SECONDS = 600.0
READY = "duckmail is running"
HERE = Path(__file__).parents[2]

# Plain logins from loopback as the peers have them; limits that one load generator on one address does not reach.
CONFIG: Mapping[str, Mapping[str, object]] = {
    "server": {"data": "var", "hostname": "mail.test"},
    "imap": {"listen": [f"{HOST}:0"], "listen_tls": [f"{HOST}:0"], "plaintext_login": True},
    "lmtp": {"listen": [f"{HOST}:0"]},
    "pop3": {"listen": [f"{HOST}:0"], "listen_tls": [f"{HOST}:0"], "plaintext_login": True},
    "submission": {"listen": [f"{HOST}:0"], "listen_tls": [f"{HOST}:0"], "plaintext_login": True},
    "metrics": {"listen": [f"{HOST}:0"]},
    "api": {"listen": [f"{HOST}:0"]},
    "limits": {"per_network": 0, "per_user": 0, "quota": "100 GiB", "received": 1_000_000_000},
}
ALLOWANCES: Mapping[str, int] = {
    "recipients": 10**9,
    "pop3MaxMessages": 10_000,
    "pop3MaxDownload": 1 << 40,
    "imapMaxDownload": 1 << 40,
    "imapMaxUpload": 1 << 40,
    "imapMaxConnections": 10**6,
}


class Duckmail(Server):
    name = "duckmail"

    def __init__(
        self,
        folder: Path,
        *,
        config: Mapping[str, Mapping[str, object]] = CONFIG,
        source: Path | None = None,
        workers: int = 1,
    ) -> None:
        """`source`: another checkout, to compare with. `workers`: processes on shared ports."""
        super().__init__(folder)
        self._config = config
        self._file = folder / "duckmail.toml"
        self._source = source
        self._workers = workers
        if source is not None:
            self.name = f"duckmail:{source.name}" + (f"-{workers}" if workers > 1 else "")
        elif workers > 1:
            self.name = f"duckmail-{workers}"
        self._process: subprocess.Popen[bytes] | None = None
        self._api = 0

    async def start(self) -> None:
        self._file.write_text(self._settings())
        command = [sys.executable, "-P", "-m", "duckmail.cli", "serve", "--config", str(self._file)]
        if self._workers > 1:
            command += ["--workers", str(self._workers)]
        with (self.folder / "printed").open("wb") as printed, (self.folder / "log").open("ab") as log:
            self._process = start_bound(command, stdout=printed, stderr=log, env=self._environment())
        async with asyncio.timeout(START_SECONDS):
            while READY not in (text := (self.folder / "printed").read_text()):
                if self._process.poll() is not None:
                    raise NotInstalled(f"duckmail does not start: {(self.folder / 'log').read_text()[-500:]}")
                await asyncio.sleep(0.05)
        self.imap, self.imaps, self.lmtp, self._api = (
            _port(text, label) for label in ("IMAP, STARTTLS", "IMAP, TLS", "LMTP", "API")
        )
        self.offers = frozenset({IMAP, LMTP})
        if "POP3, STLS" in text:  # a compared checkout may not have it
            self.pop3 = _port(text, "POP3, STLS")
            self.submission = _port(text, "Submission, STARTTLS")
            self.offers |= {POP3, SUBMISSION}

    def _settings(self) -> str:
        """The configuration file, with what the checkout knows: a compared one may be older."""
        sections = dict(self._config)
        if self.relay:
            sections["outbound"] = {"relay": f"smtp://{HOST}:{self.relay}"}
        known = ((self._source or HERE) / "config" / "duckmail.toml").read_text()
        # JSON's strings, numbers, booleans and lists are TOML's as well.
        lines: list[str] = []
        for section, values in sections.items():
            if f"\n[{section}]\n" in known:
                lines.append(f"[{section}]")
                lines += [f"{key} = {json.dumps(value)}" for key, value in values.items() if f"\n# {key} = " in known]
        return "\n".join(lines) + "\n"

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self._source)} if self._source else dict(os.environ)

    async def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(self._process.wait, STOP_SECONDS)
            self._process = None

    def fsck(self) -> subprocess.CompletedProcess[str]:
        """`duckmail fsck` beside the running server; status 1 when it found differences."""
        command = [sys.executable, "-P", "-m", "duckmail.cli", "fsck", "--deep", "--config", str(self._file)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=FSCK_SECONDS, check=False, env=self._environment()
        )

    async def add_accounts(self, accounts: Sequence[Account]) -> None:
        token = (self.folder / "var" / "api-token").read_text().strip()
        async with aiohttp.ClientSession(headers={"X-Access-Token": token}) as session:
            for account in accounts:
                body = {"username": account.address, "address": account.address, "password": PASSWORD, **ALLOWANCES}
                async with session.post(f"http://{HOST}:{self._api}/users", json=body) as response:
                    answer = await response.json()
                    if not answer.get("success"):
                        raise RuntimeError(f"cannot make {account.address}: {answer}")

    @property
    def version(self) -> str:
        return f"duckmail {__version__}"

    @property
    def pids(self) -> Sequence[int]:
        assert self._process is not None
        return (self._process.pid,)


def _port(text: str, label: str) -> int:
    found = re.search(rf"^ +{re.escape(label)} +\S+:(\d+)$", text, re.MULTILINE)
    if found is None:
        raise NotInstalled(f"duckmail does not say where it listens for {label}")
    return int(found[1])
