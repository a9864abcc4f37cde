"""How many messages each account has received in the current minute.

Counted in the process; what comes near an account's limit is counted in Redis too, for all processes together. So
accounts with little mail, nearly all, cost a look into a dictionary.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from duckmail.errors import RateLimited
from storage.redis.counters import Count

WINDOW = 60  # seconds
MOST = 100_000  # accounts that are counted
ALONE = 4  # up to this part of the limit a process counts for itself


class Counters(Protocol):
    """What is needed of `storage.redis.counters.Counters`."""

    async def incr(self, key: str, window: int, by: int = 1) -> Count: ...


@dataclass(slots=True)
class _Minute:
    ends: float
    count: int = 0  # here
    told: int = 0  # of these, in Redis
    all: int = 0  # in all processes, when it was last asked


class Arrivals:
    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._minutes: OrderedDict[str, _Minute] = OrderedDict()

    def check(self, account: str, most: int) -> None:
        """`most`: 0 for no limit. Raises: RateLimited: the account has received so many messages in this minute."""
        minute = self._minutes.get(account)
        if not most or minute is None or minute.count < most > minute.all:
            return
        if minute.ends > time.monotonic():
            raise RateLimited("You are receiving mail too quickly, try again later", account=account)

    async def add(self, account: str, most: int) -> None:
        """One more."""
        now = time.monotonic()
        minute = self._minutes.get(account)
        if minute is None or minute.ends <= now:
            self._minutes[account] = minute = _Minute(now + WINDOW)
            self._minutes.move_to_end(account)
            if len(self._minutes) > MOST:
                self._minutes.popitem(last=False)
        minute.count += 1
        if minute.count * ALONE > most:
            number, minute.told = minute.count - minute.told, minute.count
            minute.all = (await self._counters.incr(f"received:{account}", WINDOW, number)).value
