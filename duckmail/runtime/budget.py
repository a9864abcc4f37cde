"""One budget of octets for all messages that the process is receiving."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from duckmail.errors import Unavailable


class OctetBudget:
    """Process-wide and first come, first served, so that a large message is not overtaken for ever by small ones.

    A reservation covers a whole message and never grows: two half-received messages could otherwise wait for each
    other's octets until both time out.
    """

    def __init__(self, limit: int) -> None:
        """`limit`: octets; also the largest reservation, so that any allowed message can be received alone."""
        if limit <= 0:
            raise ValueError("the octet budget must be positive")
        self.limit = limit
        self._used = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def used(self) -> int:
        """Octets reserved now."""
        return self._used

    @property
    def waiting(self) -> int:
        """Reservations that wait for their turn."""
        return len(self._waiting)

    @asynccontextmanager
    async def reserve(self, octets: int, timeout: float) -> AsyncIterator[int]:
        """Hold `octets` (clipped to the limit) while the block runs; gives the number held.

        Raises:
            Unavailable: it was not this one's turn within `timeout` seconds.
        """
        held = min(max(octets, 0), self.limit)
        await self._acquire(held, timeout)
        try:
            yield held
        finally:
            self._release(held)

    async def _acquire(self, octets: int, timeout: float) -> None:
        if not self._waiting and self._used + octets <= self.limit:
            self._used += octets
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (octets, turn)
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(timeout):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():  # granted in the same turn of the loop: give it back
                self._release(octets)
            else:
                if entry in self._waiting:
                    self._waiting.remove(entry)
                self._grant()  # whoever stood behind a large one may fit now
            if isinstance(error, TimeoutError):
                raise Unavailable("Too much mail is being received, try again later", octets=octets) from None
            raise

    def _release(self, octets: int) -> None:
        self._used -= octets
        self._grant()

    def _grant(self) -> None:
        while self._waiting and self._used + self._waiting[0][0] <= self.limit:
            octets, turn = self._waiting.popleft()
            if turn.done():  # its waiter is being cancelled and has not run yet: it takes nothing
                continue
            self._used += octets
            turn.set_result(None)
