"""Access tokens of the API: 40 hexadecimal digits that stand for a role, and mostly for one account.

- Only a token's SHA-256 is stored; a token cannot be read back.
- A token lives `TTL` from its last use, `LIFETIME` from its making at most.
- An account's token ends when the account's `auth_version` grows (new password, suspension) or the account goes; while
  the account is disabled it gives nothing.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from duckmail.errors import NotFound
from duckmail.model.account import User
from storage.tokens import TokenRecord
from storage.tokens import Tokens as TokenRecords
from storage.users import Users as Records

TTL = timedelta(days=14)
LIFETIME = timedelta(days=180)
_EXTEND_AFTER = timedelta(hours=1)  # a use within this time of the last extension is not written down

_TOKEN = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Grant:
    """What a valid token gives. `user`, `username`: empty for a token of a server role."""

    digest: bytes
    role: str
    user: str = ""
    username: str = ""


class Tokens:
    def __init__(self, records: TokenRecords, users: Records, ttl: timedelta = TTL) -> None:
        self._records = records
        self._users = users
        self._ttl = ttl

    async def issue(self, role: str, user: User | None = None) -> str:
        """A new token. Raises: Unavailable."""
        token = secrets.token_hex(20)
        now = datetime.now(UTC)
        await self._records.insert(
            TokenRecord(
                digest=_digest(token),
                role=role,
                user=user.id if user else "",
                auth_version=user.auth_version if user else 0,
                created=now,
                expires=now + self._ttl,
            )
        )
        return token

    async def check(self, token: str) -> Grant | None:
        """What the token gives, None when it gives nothing (any more). Raises: Unavailable."""
        if not _TOKEN.fullmatch(token):
            return None
        record = await self._records.find(_digest(token))
        if record is None:
            return None
        username = ""
        if record.user:
            try:
                user = await self._users.get(record.user)
            except NotFound:
                return None
            if not user.active or user.auth_version > record.auth_version:
                return None
            username = user.username
        await self._extend(record)
        return Grant(record.digest, record.role, record.user, username)

    async def _extend(self, record: TokenRecord) -> None:
        expires = min(datetime.now(UTC) + self._ttl, record.created + LIFETIME)
        if expires - record.expires > _EXTEND_AFTER:
            await self._records.extend(record.digest, expires)

    async def renew(self, digest: bytes, user: User) -> None:
        """Lets the token live on after the change that its owner made with it."""
        await self._records.renew(digest, user.auth_version)

    async def revoke(self, digest: bytes) -> None:
        await self._records.delete(digest)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("ascii")).digest()
