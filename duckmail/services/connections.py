"""How many sessions an account may have, and has, in all processes; and how many connections a network.

A `user` is an account's id, or the name of another unit that is counted so.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from time import monotonic

from duckmail.errors import LimitReached
from duckmail.runtime.batch import Batched
from storage.redis.presence import FORGOTTEN_SECONDS, Presence

TOLD_SECONDS = FORGOTTEN_SECONDS / 3
BATCH = 100  # units told at once: what the loop spends on them without a turn for others is about 2 ms


class Connections:
    def __init__(self, presence: Presence) -> None:
        self._presence = presence
        # One at a time and in order: an older number that overtakes a newer one would stand until it is told again.
        self._told: Batched[str, int] = Batched(self._tell)
        self._numbers: Counter[str] = Counter()
        self._changed: set[str] = set()
        self._left = asyncio.Event()
        self._due = 0.0

    async def take(self, user: str, most: int) -> ExitStack:
        """A place for one more session, which it has until the context ends. `most`: of the unit; 0 for no limit.

        Raises: LimitReached.
        """
        with ExitStack() as place:
            place.enter_context(self._place(user))
            # Told before the others are counted: of two that come at once at least one counts the other.
            elsewhere = await self._told.get(user) or 0
            if most and self._numbers[user] + elsewhere > most:
                place.close()
                await self._told.get(user)  # who is refused takes nobody's place
                raise LimitReached("Too many simultaneous connections", limit=most)
            return place.pop_all()

    @contextmanager
    def _place(self, user: str) -> Iterator[None]:
        self._numbers[user] += 1
        try:
            yield
        finally:
            self._numbers[user] -= 1
            if not self._numbers[user]:  # keys come from clients: none may stay behind
                del self._numbers[user]
            self._changed.add(user)
            self._left.set()

    async def used(self, user: str) -> int:
        return self._numbers[user] + await self._presence.elsewhere(user)

    async def keep(self) -> None:
        """Tells the other processes at once who has left, and everything in time; until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._due - monotonic())):
                    await self._left.wait()
            self._left.clear()
            await self.tell()

    async def tell(self) -> None:
        """Tells the other processes what has changed, and everything in time."""
        changed, self._changed = self._changed, set()
        if monotonic() >= self._due:
            changed |= set(self._numbers)
            self._due = monotonic() + TOLD_SECONDS
        users = list(changed)
        for start in range(0, len(users), BATCH):
            await self._told.many(users[start : start + BATCH])

    async def _tell(self, users: list[str]) -> Mapping[str, int]:
        """The numbers of the other processes, which are told those of this one as they are now."""
        return await self._presence.meet({user: self._numbers[user] for user in users})
