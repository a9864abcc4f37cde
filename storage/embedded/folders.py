"""Where embedded servers keep their things: the data folder, its lock, the folder of the sockets."""

import fcntl
import hashlib
import os
import stat
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from storage.embedded.child import EmbeddedError

# unix(7): sun_path holds 108 octets with the final NUL. The longest name we make in the folder is `mongodb-27017.sock`.
MAX_SOCKET_PATH = 107
LONGEST_NAME = len("/mongodb-27017.sock")


def private_folder(path: Path) -> Path:
    """`path`, made with mode 0700 when missing (parents as the umask says)."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise EmbeddedError(f"The folder {path} cannot be made: {error.strerror}") from error
    return path


def socket_folder(data: Path) -> Path:
    """The folder for the sockets of the servers of `data`: always the same one, so that other commands find it.

    `<data>/run`, or `/tmp/duckmail-<uid>-<hash>` when that path is too long for a socket.
    """
    data = data.resolve()
    folder = data / "run"
    if len(os.fsencode(folder)) + LONGEST_NAME > MAX_SOCKET_PATH:
        digest = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
        folder = Path(tempfile.gettempdir()) / f"duckmail-{os.getuid()}-{digest}"
    return folder


def make_socket_folder(data: Path) -> Path:
    """Makes `socket_folder(data)` and checks that it is ours alone: /tmp belongs to everybody."""
    folder = private_folder(socket_folder(data))
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise EmbeddedError(f"{folder} belongs to somebody else; remove it or choose another data folder (--data)")
    if stat.S_IMODE(found.st_mode) & 0o077:
        folder.chmod(0o700)
    return folder


class DataLock:
    """Holds a data folder for this process; the kernel lets go of it when the process ends, however it ends."""

    def __init__(self, data: Path) -> None:
        self._path = private_folder(data) / "lock"
        self._file: int | None = None

    def try_acquire(self) -> bool:
        """True when the folder is ours now; False when another process holds it."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())
        self._file = file
        return True

    def holder(self) -> str:
        """The process id that the present holder wrote down, or an empty string."""
        try:
            return self._path.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            return ""

    def acquire(self) -> None:
        """Raises: EmbeddedError when another process holds the folder."""
        if not self.try_acquire():
            holder = self.holder()
            raise EmbeddedError(
                f"The data folder {self._path.parent} is in use by another duckmail"
                + (f" (process {holder})" if holder else "")
            )

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def rotate(log: Path) -> None:
    """Keeps the last log as `<name>.1`, so that a log never holds more than one run or one size limit."""
    if log.exists():
        log.replace(log.with_name(log.name + ".1"))
