"""How many IMAP sessions an account may have, and has, in all processes; and connections a network at the MX listener.

A `user` is an account's id, or the name of another unit that is counted so.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic

from duckmail.errors import LimitReached
from storage.redis.presence import FORGOTTEN_SECONDS, Presence

TOLD_SECONDS = FORGOTTEN_SECONDS / 3


class Connections:
    """`left`: called when there is something to tell the other processes; it neither waits nor raises."""

    def __init__(self, presence: Presence, left: Callable[[], None]) -> None:
        self._presence = presence
        self._left = left
        self._numbers: Counter[str] = Counter()
        self._changed: set[str] = set()
        self._due = 0.0

    async def take(self, user: str, most: int) -> ExitStack:
        """A place for one more session, which it has until the context ends. `most`: of the unit; 0 for no limit.

        Raises: LimitReached.
        """
        with ExitStack() as place:
            place.enter_context(self._place(user))
            # Told before the others are counted: of two that come at once at least one counts the other.
            await self._presence.tell({user: self._numbers[user]})
            if most and await self.used(user) > most:
                place.close()
                await self._presence.tell({user: self._numbers[user]})  # who is refused takes nobody's place
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
            self._left()

    async def used(self, user: str) -> int:
        return self._numbers[user] + await self._presence.elsewhere(user)

    async def tell(self) -> None:
        """Tells the other processes what has changed, and everything in time."""
        users, self._changed = self._changed, set()
        if monotonic() >= self._due:
            users |= set(self._numbers)
            self._due = monotonic() + TOLD_SECONDS
        await self._presence.tell({user: self._numbers[user] for user in users})
