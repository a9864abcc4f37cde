"""What attempts to sign in have in common: turns and throttles of an account, an even pace, what a scope may do."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

from duckmail.errors import AccountDisabled, AuthenticationFailed
from duckmail.model.account import User
from duckmail.model.credentials import ApplicationPassword

T = TypeVar("T")

MASTER = "master"
# How long each step of a proof takes at least: more than what the database takes longer for some names than for others.
STEP_SECONDS = 0.02
_WRONG_SCOPE = "Authentication failed. Invalid scope"


def account_key(user: User | None, username: str) -> str:
    # An unknown name is text of any kind: its hash is the key. It may be counted, so that it looks like a known one.
    if user is not None:
        return f"auth:user:{user.id}"
    return f"auth:name:{hashlib.sha256(username.strip().lower().encode('utf-8', 'surrogatepass')).hexdigest()}"


def network_key(network: str) -> str:
    return "" if network in ("", "unix") else f"auth:network:{network}"


class AccountTurns:
    """One lock per key for as long as somebody holds or wants it."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def of(self, key: str) -> AsyncIterator[None]:
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = (lock, users - 1)


async def evenly(step: Awaitable[T]) -> T:
    """`step`, which takes STEP_SECONDS at least, however it ends."""
    ends = asyncio.get_running_loop().time() + STEP_SECONDS
    try:
        return await step
    finally:
        await asyncio.sleep(max(0.0, ends - asyncio.get_running_loop().time()))


def require_scope(user: User, scope: str) -> None:
    if scope in user.disabled_scopes:
        raise AccountDisabled("Access to requested service disabled", user=user.id)


def require_own(user: User, scope: str) -> None:
    """For the account's own password."""
    require_scope(user, scope)
    if scope != MASTER and user.enabled_2fa:
        # A mail program cannot ask for a second factor: it has an application password.
        raise AccountDisabled(_WRONG_SCOPE, user=user.id)


def require_asp(user: User, asp: ApplicationPassword, scope: str) -> None:
    if not asp.allows(scope):
        raise AccountDisabled(_WRONG_SCOPE, user=user.id)
    require_scope(user, scope)


def unknown(user: User | None) -> AuthenticationFailed:
    """Of nobody's name, and of an account that is not active."""
    why = "suspended" if user and user.suspended else "disabled"
    return AuthenticationFailed(**({"user": user.id, "result": why} if user else {}))
