"""Secrets at rest: sealed with AES-256-GCM under keys that are not in the database.

- What is sealed names its key and is bound to a context (whose secret, which field): moved elsewhere it does not open.
- The key file is made at the first start, readable by its owner alone. Its first key seals, all of them open.
- Losing the file loses what was sealed: it belongs into the backup, apart from the database.
"""

import os
import secrets
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from duckmail.errors import Unavailable

KEY_OCTETS = 32
CREDENTIAL = "seal-key"  # file name, under the data folder or of a systemd credential
_VERSION = b"\x01"
_NAME, _NONCE = 8, 12  # octets


class Sealer:
    def __init__(self, keys: Sequence[bytes]) -> None:
        """`keys`: of 32 octets; the first one seals."""
        self._ciphers = {sha256(key).digest()[:_NAME]: AESGCM(key) for key in keys}
        self._current = sha256(keys[0]).digest()[:_NAME]

    def seal(self, secret: bytes, context: str) -> bytes:
        nonce = os.urandom(_NONCE)
        return _VERSION + self._current + nonce + self._ciphers[self._current].encrypt(nonce, secret, context.encode())

    def unseal(self, sealed: bytes, context: str) -> bytes:
        """Raises: Unavailable: sealed with a key that is not here, for another context, or damaged."""
        name, nonce = sealed[1 : 1 + _NAME], sealed[1 + _NAME : 1 + _NAME + _NONCE]
        cipher = self._ciphers.get(name)
        if sealed[:1] != _VERSION or cipher is None:
            raise Unavailable(error="a secret is sealed with a key that is not in the key file", context=context)
        try:
            return cipher.decrypt(nonce, sealed[1 + _NAME + _NONCE :], context.encode())
        except InvalidTag as error:
            raise Unavailable(error="a sealed secret is damaged", context=context) from error


def open_sealer(data: Path, environment: Mapping[str, str]) -> Sealer:
    """With the keys of systemd's credential, else of the file under `data`, which is made if there is none.

    Raises: Unavailable: the file cannot be made or read, or is none.
    """
    folder = environment.get("CREDENTIALS_DIRECTORY")
    given = Path(folder) / CREDENTIAL if folder else None
    path = given if given and given.exists() else data / CREDENTIAL
    try:
        if not path.exists():
            _make(path)
        keys = [bytes.fromhex(line) for line in path.read_text("ascii").split()]
    except (OSError, ValueError) as error:
        raise Unavailable(f"The key file {path} cannot be used: {type(error).__name__}") from error
    if not keys or any(len(key) != KEY_OCTETS for key in keys):
        raise Unavailable(f"The key file {path} holds no keys of 64 hexadecimal digits")
    return Sealer(keys)


def _make(path: Path) -> None:
    """Whole or not at all, and once: of several processes at their first start all use the same."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(KEY_OCTETS) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()
