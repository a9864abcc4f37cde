"""How many recipients an account may have within a day, whatever way its mail goes out."""

from typing import Protocol

from duckmail.errors import DailyLimitReached
from duckmail.model.account import User
from storage.redis.counters import Count

DAY = 24 * 3600


class Counters(Protocol):
    """What is needed of `storage.redis.counters.Counters`."""

    async def incr(self, key: str, window: int, by: int = 1) -> Count: ...

    async def get(self, key: str) -> Count: ...


def recipients_key(user: str) -> str:
    """The counter of an account's recipients within a day."""
    return f"recipients:{user}"


class SendingLimit:
    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    async def left(self, user: User) -> int:
        """Recipients that the account may still have today."""
        count = await self._counters.get(recipients_key(user.id))
        return user.allowed.recipients - count.value

    async def count(self, user: User, number: int) -> None:
        """Counts recipients. Raises: DailyLimitReached: then they are not counted."""
        key = recipients_key(user.id)
        count = await self._counters.incr(key, DAY, number)
        if count.value > user.allowed.recipients:
            await self._counters.incr(key, DAY, -number)
            raise DailyLimitReached(
                f"{DailyLimitReached.default}. Limit expires in {expires_in(count.ttl)}", user=user.id
            )

    async def give_back(self, user: User, number: int) -> None:
        """Of a message that was not sent after all."""
        await self._counters.incr(recipients_key(user.id), DAY, -number)


def expires_in(seconds: int) -> str:
    """A time as people say it: `40 seconds`, `3 minutes`, `7 hours`."""
    if seconds < 60:
        return f"{seconds} seconds"
    if seconds < 3600:
        return f"{round(seconds / 60)} minutes"
    return f"{round(seconds / 3600)} hours"
