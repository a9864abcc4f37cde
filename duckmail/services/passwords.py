"""Passwords and their hashes: argon2id for new ones, many formats verified; always in a bounded pool.

Verifying costs tens of milliseconds and 19 MiB, so it never runs on the loop, and two threads do it for the whole
process. Who is not known costs the same time: `verify` without a stored hash hashes all the same.
"""

import asyncio
import hmac
import re
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass

from duckmail.errors import Unavailable, UnsupportedHash
from duckmail.runtime.threads import Pool
from duckmail.services.passwordhashes import HASHER, find, is_strong

MAX_PASSWORD = 1024  # octets in UTF-8; more is wrong without being hashed
VERIFY_SECONDS = 20.0  # waiting for a thread included
REMEMBER_SECONDS = 60.0
REMEMBER_MOST = 4096  # right passwords; about 1 MB


@dataclass(frozen=True, slots=True)
class Verified:
    """`weak`: right, and the stored hash should be replaced by a new one."""

    right: bool
    weak: bool = False


class Passwords:
    def __init__(self, pool: Pool) -> None:
        """`pool`: of two threads; its queue bounds how many logins may wait."""
        self._pool = pool
        self._key = secrets.token_bytes(32)
        self._remembered: OrderedDict[bytes, float] = OrderedDict()
        self._nobody = HASHER.hash(secrets.token_hex(16))

    async def hash(self, password: str) -> str:
        """A new hash. Raises: Unavailable."""
        try:
            async with asyncio.timeout(VERIFY_SECONDS):
                return await self._pool.run(HASHER.hash, _octets(password))
        except TimeoutError as error:
            raise Unavailable(reason="password pool") from error

    async def verify(self, password: str, stored: str) -> Verified:
        """Whether `password` is what `stored` was made of; without a hash (unknown user, none set) it never is.

        A password that was right is remembered for a minute, since mail clients sign in on several connections at
        once: as a MAC of it and its hash under a key of this process, so an old password is never taken for the new.

        Raises:
            Unavailable: the queue is full or the time is over.
        """
        octets = _octets(password)
        known = is_supported(stored) and 0 < len(octets) <= MAX_PASSWORD
        target = stored if known else self._nobody
        tag = hmac.digest(self._key, target.encode() + b"\0" + octets[: MAX_PASSWORD + 1], "sha256")
        if self._remembers(tag):
            return Verified(right=True)
        try:
            async with asyncio.timeout(VERIFY_SECONDS):
                right = await self._pool.run(_matches, octets[:MAX_PASSWORD], target)
        except TimeoutError as error:
            raise Unavailable(reason="password pool") from error
        if not right:
            return Verified(right=False)
        self._remember(tag)
        return Verified(right=True, weak=is_weak(stored))

    def _remembers(self, tag: bytes) -> bool:
        ends = self._remembered.get(tag)
        return ends is not None and ends > time.monotonic()

    def _remember(self, tag: bytes) -> None:
        self._remembered[tag] = time.monotonic() + REMEMBER_SECONDS
        if len(self._remembered) > REMEMBER_MOST:
            self._remembered.popitem(last=False)


def require_supported(stored: str) -> None:
    """Raises: UnsupportedHash, with the format's name, when `verify` could never accept a password for it."""
    if not is_supported(stored):
        name = re.match(r"\$([a-z0-9-]{1,32})\$", stored)
        raise UnsupportedHash(f'Invalid algo: "{name[1] if name else "unknown"}"')


def is_supported(stored: str) -> bool:
    """A hash that is verified here, at a cost that is acceptable."""
    return find(stored) is not None


def is_weak(stored: str) -> bool:
    """A supported hash that costs an attacker less than a new one: another function, or less memory times passes."""
    return not is_strong(stored)


def _octets(password: str) -> bytes:
    # Lone surrogates come from octets that are no UTF-8: they are part of the password as well.
    return password.encode("utf-8", "surrogatepass")


def _matches(password: bytes, stored: str) -> bool:
    found = find(stored)
    return found is not None and found.verify(password, stored)
