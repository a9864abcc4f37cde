"""Other people's programs, run in a folder of their own."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM_SECONDS = 60.0

Run = Callable[..., str]


def require(*programs: str) -> None:
    """Skips the test, with the reason, where one of these is absent."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def run_in(folder: Path, *argv: str, status: int = 0, stdin: str = "") -> str:
    """Runs a program in `folder`, which is its home as well; gives what it printed.

    Args:
        status: the exit status that is expected.
        stdin: what it reads.
    """
    require(argv[0])
    environment = {**os.environ, "HOME": str(folder), "LC_ALL": "C.UTF-8", "TERM": "dumb", "TZ": "UTC"}
    done = subprocess.run(
        argv,
        input=stdin,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PROGRAM_SECONDS,
        text=True,
        errors="replace",
        check=False,
    )
    assert done.returncode == status, f"{argv[0]} ended with {done.returncode}:\n{done.stdout[-8000:]}"
    return done.stdout
