"""Access tokens of the API: 40 hexadecimal digits that stand for a role, and mostly for one account.

- Only a token's SHA-256 is stored; a token cannot be read back.
- A token lives `TTL` from its last use, `LIFETIME` from its making at most.
- A token of the role `user` is an account's; the server's roles belong to none: no account has more than its own.
- An account's token ends when the account's `auth_version` grows (new password, suspension) or the account goes; while
  the account is disabled it gives nothing.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from duckmail.errors import InvalidInput, NotFound
from duckmail.model.account import User
from duckmail.services.access import SERVER_ROLES
from storage.tokens import TokenRecord
from storage.tokens import Tokens as TokenRecords
from storage.users import Users as Records

TTL = timedelta(days=14)
LIFETIME = timedelta(days=180)
_EXTEND_AFTER = timedelta(hours=1)  # a use within this time of the last extension is not written down

ACCOUNT_ROLE = "user"
MOST_LISTED = 1000

_TOKEN = re.compile(r"[0-9a-f]{40}")
_BEGINNING = re.compile(r"[0-9a-f]{8,64}")


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

    async def issue(self, role: str, user: User | None = None, *, ttl: timedelta | None = None, note: str = "") -> str:
        """A new token. `ttl`: from its last use, None for the server's; never beyond `LIFETIME`. `note`: for lists.

        Raises: InvalidInput: no such role, or one that is (not) an account's. Unavailable.
        """
        if role != ACCOUNT_ROLE and role not in SERVER_ROLES:
            raise InvalidInput(f"There is no role {role}")
        if (role == ACCOUNT_ROLE) != (user is not None):
            raise InvalidInput("The role user belongs to an account, every other one to none")
        token = secrets.token_hex(20)
        now = datetime.now(UTC)
        await self._records.insert(
            TokenRecord(
                digest=_digest(token),
                role=role,
                user=user.id if user else "",
                auth_version=user.auth_version if user else 0,
                created=now,
                expires=now + min(ttl or self._ttl, LIFETIME),
                ttl=ttl,
                note=note,
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
        expires = min(datetime.now(UTC) + (record.ttl or self._ttl), record.created + LIFETIME)
        if expires - record.expires > _EXTEND_AFTER:
            await self._records.extend(record.digest, expires)

    async def renew(self, digest: bytes, user: User) -> None:
        """Lets the token live on after the change that its owner made with it."""
        await self._records.renew(digest, user.auth_version)

    async def revoke(self, digest: bytes) -> None:
        """Whoever follows an account with it is let go. Raises: Unavailable."""
        record = await self._records.find(digest)
        await self._records.delete(digest)
        if record is not None and record.user:
            self._users.changed(record.user)

    async def of_role(self, role: str) -> list[TokenRecord]:
        """The oldest `MOST_LISTED` of a server role. Raises: Unavailable."""
        return await self._records.by_role(role, MOST_LISTED)

    async def of_user(self, user: str) -> list[TokenRecord]:
        """An account's, at most `MOST_LISTED`. Raises: Unavailable."""
        return await self._records.of_user(user, MOST_LISTED)

    async def revoke_named(self, beginning: str) -> TokenRecord:
        """Ends the one token whose digest begins so, 8 to 64 hexadecimal digits; gives what it was.

        Raises: InvalidInput: it is no beginning, or that of several. NotFound, Unavailable.
        """
        if not _BEGINNING.fullmatch(beginning):
            raise InvalidInput("A token is named by 8 to 64 hexadecimal digits of its id")
        begin, end = (bytes.fromhex(beginning.ljust(64, digit)) for digit in "0f")
        found = await self._records.starting(begin, end, 2)
        if not found:
            raise NotFound("There is no such token")
        if len(found) > 1:
            raise InvalidInput("Several tokens begin so; give more digits")
        await self.revoke(found[0].digest)
        return found[0]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("ascii")).digest()
