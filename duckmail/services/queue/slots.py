"""How many transactions run at the same time: in all, with one host, for one domain, of one account; and how often."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from duckmail.errors import InUse

PATIENCE_SECONDS = 60.0
_PACED = 1000  # hosts that are remembered, before those whose turn has come are forgotten


@dataclass(frozen=True, slots=True)
class Pace:
    """Of one process; 0 for no limit. `per_host`, `per_domain`, `per_account`: transactions at once.

    `host_minute`: transactions begun with one host within a minute.
    """

    per_host: int = 0
    per_domain: int = 0
    per_account: int = 0
    host_minute: int = 0


class Slots:
    """`total` transactions at once.

    Who waits for a busy host holds nothing that others need, and gives up in time, so that one slow host never stops
    the rest.
    """

    def __init__(self, total: int, pace: Pace, patience: float = PATIENCE_SECONDS) -> None:
        self._total = asyncio.Semaphore(total)
        self._accounts = _Shares(pace.per_account, patience)
        self._domains = _Shares(pace.per_domain, patience)
        self._hosts = _Shares(pace.per_host, patience)
        self._apart = 60.0 / pace.host_minute if pace.host_minute else 0.0
        self._patience = patience
        self._next: dict[str, float] = {}  # loop time of the next transaction with a host

    @asynccontextmanager
    async def take(self, host: str = "", domain: str = "", account: str = "") -> AsyncIterator[None]:
        """A slot for one transaction; "" for what is not limited.

        Raises:
            InUse: there was none in time.
        """
        async with self._accounts.one(account), self._domains.one(domain), self._hosts.one(host):
            if host and self._apart:
                await self._turn(host)
            async with self._total:
                yield

    async def _turn(self, host: str) -> None:
        now = asyncio.get_running_loop().time()
        if len(self._next) >= _PACED:
            self._next = {each: when for each, when in self._next.items() if when > now}
        start = max(now, self._next.get(host, 0.0))
        if start - now > self._patience:
            raise InUse("The host has had its messages of this minute")
        self._next[host] = start + self._apart
        await asyncio.sleep(start - now)


class _Shares:
    """`most` at once with the same key; 0 for any number."""

    def __init__(self, most: int, patience: float) -> None:
        self._most = most
        self._patience = patience
        self._keys: dict[str, tuple[asyncio.Semaphore, int]] = {}  # with the number of those that use or want it

    @asynccontextmanager
    async def one(self, key: str) -> AsyncIterator[None]:
        """Raises: InUse."""
        if not key or not self._most:
            yield
            return
        slots, users = self._keys.get(key) or (asyncio.Semaphore(self._most), 0)
        self._keys[key] = (slots, users + 1)
        try:
            await self._wait(slots)
            try:
                yield
            finally:
                slots.release()
        finally:
            _, users = self._keys[key]
            if users > 1:
                self._keys[key] = (slots, users - 1)
            else:
                del self._keys[key]

    async def _wait(self, slots: asyncio.Semaphore) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await slots.acquire()
        except TimeoutError:
            raise InUse("The host is busy with other messages") from None
