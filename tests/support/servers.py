"""The database servers of a test run: the embedded ones, started once, in a folder of their own."""

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

PREFIX = "duckmail-test-"
NEW_SECONDS = 60.0
ENOUGH = 2 << 30  # octets free in memory-backed storage


def _base() -> Path:
    """Memory-backed where there is room: a journaled majority write is about twice as fast there."""
    memory = Path("/dev/shm")
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ENOUGH:
        return memory
    return Path(tempfile.gettempdir())


def _remove_abandoned(base: Path) -> None:
    """Folders of runs that were killed: nobody holds their lock. One that is new may be about to get it, by another
    worker of this run."""
    for folder in base.glob(PREFIX + "*"):
        lock = folder / "lock"
        try:
            if time.time() - folder.stat().st_mtime < NEW_SECONDS:
                continue
            with lock.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # in use, not ours, or just being made
        shutil.rmtree(folder, ignore_errors=True)


def new_data_folder() -> Path:
    """A fresh folder for a test's servers; remove it with `shutil.rmtree`."""
    base = _base()
    _remove_abandoned(base)
    return Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
