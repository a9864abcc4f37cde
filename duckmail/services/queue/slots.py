"""How many transactions run at the same time: in all, and with one host."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from duckmail.errors import InUse

PATIENCE_SECONDS = 60.0


class Slots:
    """`total` transactions at once, `per_host` of them with the same host.

    Who waits for a busy host holds nothing that others need, and gives up in time, so that one slow host never stops
    the rest.
    """

    def __init__(self, total: int, per_host: int, patience: float = PATIENCE_SECONDS) -> None:
        self._total = asyncio.Semaphore(total)
        self._per_host = per_host
        self._patience = patience
        self._hosts: dict[str, tuple[asyncio.Semaphore, int]] = {}  # with the number of those that use or want it

    @asynccontextmanager
    async def take(self, host: str = "") -> AsyncIterator[None]:
        """A slot for one transaction; `host`: "" for none that is limited.

        Raises:
            InUse: there was none in time.
        """
        if not host:
            async with self._total:
                yield
            return
        slots, users = self._hosts.get(host) or (asyncio.Semaphore(self._per_host), 0)
        self._hosts[host] = (slots, users + 1)
        try:
            await self._wait(slots)
            try:
                async with self._total:
                    yield
            finally:
                slots.release()
        finally:
            _, users = self._hosts[host]
            if users > 1:
                self._hosts[host] = (slots, users - 1)
            else:
                del self._hosts[host]

    async def _wait(self, slots: asyncio.Semaphore) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await slots.acquire()
        except TimeoutError:
            raise InUse("The host is busy with other messages") from None
