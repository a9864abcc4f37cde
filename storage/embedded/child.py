"""One owned child process: started bound to our life, watched, stopped."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from duckmail.errors import DuckmailError

POLL_SECONDS = 0.02
OUTPUT_TAIL = 4096
LAUNCHER = Path(__file__).with_name("launch.py")


class EmbeddedError(DuckmailError):
    """An embedded server cannot run; the text is one line that says what to do."""

    default = "An embedded server does not start"


class Child:
    """A server process of ours.

    The kernel kills it when the *thread* that started it ends, so start it from the main thread (the event loop's),
    never from a pool. It runs in a session of its own: Ctrl-C in a terminal reaches us only, and we stop it in order.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        output: Path | None,
        orphaned: signal.Signals = signal.SIGKILL,
        fds: Sequence[int] = (),
    ) -> None:
        """
        Args:
            output: takes what the program prints to stdout and stderr, emptied at each start; None: as ours.
            orphaned: what the kernel sends it when we die. For a database SIGKILL: the data folder is free at once for
                a restarted owner, and what was acknowledged stands in a journal.
            fds: open files that it has too, under the same numbers.
        """
        self.name = name
        self._argv = list(argv)
        self._output = output
        self._orphaned = orphaned
        self._fds = tuple(fds)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; 0 before the first start."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        owner = [str(os.getpid()), str(int(self._orphaned))]
        command = [sys.executable, "-I", "-S", str(LAUNCHER), *owner, *self._argv]
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(self._output.open("wb")) if self._output else None
            self._process = subprocess.Popen(  # noqa: S603  (our own program with our own arguments)
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                umask=0o077,
                pass_fds=self._fds,
            )

    def status(self) -> int | None:
        """None while it runs, else its exit status (negative: ended by that signal). Before the first start: 0."""
        return self._process.poll() if self._process else 0

    def printed(self) -> str:
        """The end of what it printed."""
        if self._output is None:
            return ""
        try:
            return self._output.read_bytes()[-OUTPUT_TAIL:].decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    async def stop(self, timeout: float) -> None:
        """SIGTERM, and SIGKILL after `timeout` seconds; returns when it has ended."""
        if not await self._signal_and_wait(signal.SIGTERM, timeout):
            await self._signal_and_wait(signal.SIGKILL, 5.0)

    def send(self, number: signal.Signals) -> None:
        if self._process is not None and self.status() is None:
            self._process.send_signal(number)

    async def _signal_and_wait(self, number: signal.Signals, timeout: float) -> bool:
        self.send(number)
        deadline = time.monotonic() + timeout
        while self.status() is None:
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(POLL_SECONDS)
        return True
