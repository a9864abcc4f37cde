"""`duckmail COMMAND` in a process of its own that has not to import everything first: a fork of one that has.

That is one to two seconds of a processor less for each. What the start of an interpreter itself does is tested by those
that start one, `ServerProcess` above all.
"""

import functools
import json
import os
import select
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

SECONDS = 100.0

_PARENT = """
import importlib, json, os, sys
from duckmail import cli
from duckmail.cli.commands import COMMANDS

for command in COMMANDS:
    importlib.import_module(f"duckmail.cli.{command.name}")
asked, answers = os.fdopen(int(sys.argv[1])), int(sys.argv[2])
for line in asked:
    argv, folder, environment, files = json.loads(line)
    if (child := os.fork()) == 0:
        os.close(answers)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        for number, (name, flags) in enumerate(zip(files, (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY))):
            os.dup2(os.open(name, flags), number)
        sys.argv = ["duckmail", *argv]
        sys.exit(cli.main())
    os.write(answers, b"%d\\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


class _Parent:
    """The process that is forked, one command at a time; it ends with the one that started it."""

    def __init__(self) -> None:
        asked, self._asked = os.pipe()
        self._answers, answers = os.pipe()
        command = [sys.executable, "-P", "-c", _PARENT, str(asked), str(answers)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[asked, answers])
        os.close(asked)
        os.close(answers)
        self._lock = threading.Lock()

    def run(self, argv: Sequence[str], files: Sequence[Path]) -> int:
        line = json.dumps([[*argv], os.getcwd(), dict(os.environ), [str(file) for file in files]])
        with self._lock:
            os.write(self._asked, line.encode() + b"\n")
            if not select.select([self._answers], [], [], SECONDS)[0]:
                raise subprocess.TimeoutExpired([*argv], SECONDS)
            return int(os.read(self._answers, 100))


_parent = functools.cache(_Parent)


def duckmail(*argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("in", "out", "err")]
        for file, text in zip(files, (stdin, "", ""), strict=True):
            file.write_text(text)
        status = _parent().run(argv, files)
        return subprocess.CompletedProcess(["duckmail", *argv], status, files[1].read_text(), files[2].read_text())
