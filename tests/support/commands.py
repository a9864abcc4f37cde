"""`duckmail COMMAND` in a process of its own that has not to import everything first: a fork of one that has.

That is one to two seconds of a processor less for each. What the start of an interpreter itself does is tested by
`test_cli_serve` and `test_systemd`, and by all that start workers.
"""

import functools
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

SECONDS = 100.0
PAUSE = 0.01

# It says "PID" when it has started a process, and "PID STATUS" when that has ended.
_PARENT = """
import gc, importlib, json, os, select, sys
from duckmail import cli
from duckmail.cli.commands import COMMANDS

for command in COMMANDS:
    importlib.import_module(f"duckmail.cli.{command.name}")
gc.freeze()  # a collection in a child would copy all pages
asked, answers = os.fdopen(int(sys.argv[1])), int(sys.argv[2])
running = 0
while True:
    if select.select([asked], [], [], 0.02 if running else None)[0]:
        if not (line := asked.readline()):
            break
        argv, folder, environment, files = json.loads(line)
        if (child := os.fork()) == 0:
            asked.close()
            os.close(answers)
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(environment)
            for number, (name, flags) in enumerate(zip(files, (os.O_RDONLY, *2 * [os.O_WRONLY | os.O_APPEND]))):
                os.dup2(opened := os.open(name, flags), number)
                os.close(opened)
            sys.argv = ["duckmail", *argv]
            sys.exit(cli.main())
        os.write(answers, b"%d\\n" % child)
        running += 1
    while running and (ended := os.waitpid(-1, os.WNOHANG))[0]:
        os.write(answers, b"%d %d\\n" % (ended[0], os.waitstatus_to_exitcode(ended[1])))
        running -= 1
"""


class _Parent:
    """The process that is forked; it ends with the one that started it."""

    def __init__(self) -> None:
        asked, own = os.pipe()
        self._answers, answers = os.pipe()
        command = [sys.executable, "-P", "-c", _PARENT, str(asked), str(answers)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[asked, answers])
        os.close(asked)
        os.close(answers)
        self._asked = os.fdopen(own, "w")
        self._lock = threading.Lock()
        self._half = b""  # of a line
        self._started: list[int] = []
        self._ended: dict[int, int] = {}

    def start(self, argv: Sequence[str], files: Sequence[Path]) -> int:
        """The process id. `files`: for the standard streams; they are there."""
        line = json.dumps([[*argv], os.getcwd(), dict(os.environ), [str(file.absolute()) for file in files]])
        with self._lock:
            self._asked.write(line + "\n")
            self._asked.flush()
            while not self._started:
                if not self._take(SECONDS):
                    raise subprocess.TimeoutExpired([*argv], SECONDS)
            return self._started.pop()

    def status(self, pid: int) -> int | None:
        """None while it runs."""
        with self._lock:
            while self._take(0):
                pass
            return self._ended.get(pid)

    def _take(self, seconds: float) -> bool:
        """Whether something was said in this time."""
        if not select.select([self._answers], [], [], seconds)[0]:
            return False
        said = os.read(self._answers, 1 << 16)
        assert said, "the process that is forked has ended"
        *lines, self._half = (self._half + said).split(b"\n")
        for line in lines:
            match line.split():
                case [pid]:
                    self._started.append(int(pid))
                case [pid, status]:
                    self._ended[int(pid)] = int(status)
        return True


_parent = functools.cache(_Parent)


class Running:
    """A command that was started; as `subprocess.Popen`, of which it is no child."""

    def __init__(self, argv: Sequence[str], files: Sequence[Path]) -> None:
        self._argv = [*argv]
        self.pid = _parent().start(argv, files)

    def poll(self) -> int | None:
        return _parent().status(self.pid)

    def wait(self, timeout: float = SECONDS) -> int:
        """Raises: subprocess.TimeoutExpired."""
        end = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(["duckmail", *self._argv], timeout)
            time.sleep(PAUSE)
        return status

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(*argv: str, printed: Path, log: Path) -> Running:
    """Starts a command without input; what it writes is added to the two files."""
    for file in (printed, log):
        file.touch()
    return Running(argv, [Path(os.devnull), printed, log])


def duckmail(*argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("in", "out", "err")]
        for file, text in zip(files, (stdin, "", ""), strict=True):
            file.write_text(text)
        status = Running(argv, files).wait()
        return subprocess.CompletedProcess(["duckmail", *argv], status, files[1].read_text(), files[2].read_text())
