"""Mail that is encrypted to its owner's OpenPGP key, and the check of such keys."""

from datetime import UTC, datetime
from email.utils import parseaddr

from pysequoia import Cert, encrypt

from duckmail.errors import InvalidInput
from duckmail.mime.pgp import enclosed, entity, is_encrypted
from duckmail.runtime.threads import Pool

LARGEST = 64 * 1024  # characters of a key
BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----"


class Pgp:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def info(self, key: str) -> tuple[str, str, str]:
        """Name, address and fingerprint (lower-case hexadecimal) of a public key. Raises: InvalidInput: it is none."""
        if not key.startswith(BEGIN) or len(key) > LARGEST:
            raise InvalidInput("PGP key validation failed")
        return await self._pool.run(_info, key)

    async def encrypted(self, raw: bytes | bytearray, key: str) -> bytes | None:
        """`raw` encrypted to `key`; None where it is encrypted already.

        Raises: InvalidInput: nothing can be encrypted to that key now: it has expired or been revoked, say.
        """
        return await self._pool.run(_encrypted, raw, key)


def _info(key: str) -> tuple[str, str, str]:
    try:
        certificate = Cert.from_bytes(key.encode())
        encrypt(b"test", recipients=[certificate])
        names = [str(each) for each in certificate.user_ids]
        if certificate.is_revoked or _is_over(certificate):
            raise InvalidInput("PGP key validation failed")
    except RuntimeError:  # its text is a trace of calls
        raise InvalidInput("PGP key validation failed") from None
    name, address = parseaddr(names[0]) if names else ("", "")
    return name, address, certificate.fingerprint


def _encrypted(raw: bytes | bytearray, key: str) -> bytes | None:
    if is_encrypted(raw):
        return None
    try:
        certificate = Cert.from_bytes(key.encode())
        if certificate.is_revoked or _is_over(certificate):
            raise InvalidInput("The key is not valid any more")
        return enclosed(raw, encrypt(entity(raw), recipients=[certificate]))
    except RuntimeError:  # its text is a trace of calls
        raise InvalidInput("Nothing can be encrypted to the key") from None


def _is_over(certificate: Cert) -> bool:
    return certificate.expiration is not None and certificate.expiration <= datetime.now(UTC)
