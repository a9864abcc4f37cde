"""Secrets at rest: sealed with AES-256-GCM under keys that are not in the database.

- What is sealed names its key and is bound to a context (whose secret, which field): moved elsewhere it does not open.
- The key file is made at the first start, readable by its owner alone. Its first key seals, all of them open.
- Losing the file loses what was sealed: it belongs into the backup, apart from the database.
"""

import hmac
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from duckmail.errors import Unavailable

KEY_OCTETS = 32
CREDENTIAL = "seal-key"  # file name, under the data folder or of a systemd credential
_VERSION = b"\x01"
_NAME, _NONCE = 8, 12  # octets


class Sealer:
    def __init__(self, keys: Sequence[bytes], changed: Callable[[], Sequence[bytes] | None] = lambda: None) -> None:
        """`keys`: of 32 octets; the first one seals. `changed`: asked at each use; the keys when they are others."""
        self._changed = changed
        self._take(keys)

    def _take(self, keys: Sequence[bytes]) -> None:
        self._keys = keys
        self._ciphers = {_name(key): AESGCM(key) for key in keys}
        self._current = _name(keys[0])

    def _refresh(self) -> None:
        keys = self._changed()
        if keys is not None:
            self._take(keys)

    def is_current(self, sealed: bytes) -> bool:
        """Whether it is sealed with the key that seals now."""
        self._refresh()
        return sealed[: 1 + _NAME] == _VERSION + self._current

    def derived(self, purpose: str) -> list[bytes]:
        """Keys of 32 octets for something else than sealing: one of each key, the first of the one that seals now."""
        self._refresh()
        # RFC 5869 §3.3: keys that are uniform need no extraction; one block of the expansion is enough.
        return [hmac.digest(key, purpose.encode() + b"\x01", sha256) for key in self._keys]

    def seal(self, secret: bytes, context: str) -> bytes:
        self._refresh()
        nonce = os.urandom(_NONCE)
        return _VERSION + self._current + nonce + self._ciphers[self._current].encrypt(nonce, secret, context.encode())

    def unseal(self, sealed: bytes, context: str) -> bytes:
        """Raises: Unavailable: sealed with a key that is not here, for another context, or damaged."""
        self._refresh()
        name, nonce = sealed[1 : 1 + _NAME], sealed[1 + _NAME : 1 + _NAME + _NONCE]
        cipher = self._ciphers.get(name)
        if sealed[:1] != _VERSION or cipher is None:
            raise Unavailable(error="a secret is sealed with a key that is not in the key file", context=context)
        try:
            return cipher.decrypt(nonce, sealed[1 + _NAME + _NONCE :], context.encode())
        except InvalidTag as error:
            raise Unavailable(error="a sealed secret is damaged", context=context) from error


class KeyFile:
    """A file of keys, one in 64 hexadecimal digits on each line; the first one seals."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._state: tuple[int, ...] = ()

    @classmethod
    def find(cls, data: Path, environment: Mapping[str, str]) -> Self:
        """systemd's credential, else the file under `data`."""
        folder = environment.get("CREDENTIALS_DIRECTORY")
        given = Path(folder) / CREDENTIAL if folder else None
        return cls(given if given and given.exists() else data / CREDENTIAL)

    def keys(self) -> list[bytes]:
        """Makes the file if there is none. Raises: Unavailable: it cannot be made or read, or is none."""
        try:
            if not self.path.exists():
                self._make()
            self._state = self._look()
            keys = [bytes.fromhex(line) for line in self.path.read_text("ascii").split()]
        except (OSError, ValueError) as error:
            raise Unavailable(f"The key file {self.path} cannot be used: {type(error).__name__}") from error
        if not keys or any(len(key) != KEY_OCTETS for key in keys):
            raise Unavailable(f"The key file {self.path} holds no keys of 64 hexadecimal digits")
        return keys

    def changed(self) -> list[bytes] | None:
        """The keys if the file is another one than when it was read; a file that cannot be read is none."""
        try:
            return None if self._look() == self._state else self.keys()
        except (OSError, Unavailable):
            return None

    def _look(self) -> tuple[int, ...]:
        found = self.path.stat()
        return found.st_ino, found.st_mtime_ns, found.st_size

    def add(self) -> None:
        """A new key, which seals from now on; the others open. Raises: Unavailable: the file cannot be changed."""
        keys = [secrets.token_bytes(KEY_OCTETS), *self.keys()]
        try:
            draft = self._draft(keys)
            draft.replace(self.path)
        except OSError as error:
            raise Unavailable(f"The key file {self.path} cannot be changed: {type(error).__name__}") from error

    def _make(self) -> None:
        """Whole or not at all, and once: of several processes at their first start all use the same."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._draft([secrets.token_bytes(KEY_OCTETS)])
        try:
            os.link(draft, self.path)
        except FileExistsError:
            return
        finally:
            draft.unlink()

    def _draft(self, keys: Sequence[bytes]) -> Path:
        draft = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write("".join(f"{key.hex()}\n" for key in keys))
            file.flush()
            os.fsync(file.fileno())
        return draft


def open_sealer(data: Path, environment: Mapping[str, str]) -> Sealer:
    """With the keys of systemd's credential, else of the file under `data`, which is made if there is none; what
    changes there holds at once.

    Raises: Unavailable: the file cannot be made or read, or is none.
    """
    file = KeyFile.find(data, environment)
    return Sealer(file.keys(), file.changed)


def _name(key: bytes) -> bytes:
    return sha256(key).digest()[:_NAME]
