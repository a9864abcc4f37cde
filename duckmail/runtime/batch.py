"""Concurrent look-ups of one key each become few queries for many keys."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MAX_KEYS = 200


class _Batch(Generic[K, V]):
    def __init__(self, keys: dict[K, None]) -> None:
        self.keys = keys
        self.result: asyncio.Future[Mapping[K, V]] = asyncio.get_running_loop().create_future()
        # An error nobody waits for any more is no news.
        self.result.add_done_callback(lambda done: done.cancelled() or done.exception())


class Batched(Generic[K, V]):
    """Gathers keys while a query is under way and asks for all of them in the next one.

    Nothing is cached: an answer comes from a query that began after the question. Alone, a look-up waits for nothing.

    Args:
        query: gives the values of the keys that have one.
    """

    def __init__(self, query: Callable[[list[K]], Awaitable[Mapping[K, V]]]) -> None:
        self._query = query
        self._turn = asyncio.Lock()
        self._gathering: _Batch[K, V] | None = None

    async def get(self, key: K) -> V | None:
        """The value of `key`, None when it has none; raises what the query raises."""
        return (await self.many([key])).get(key)

    async def many(self, keys: Iterable[K]) -> Mapping[K, V]:
        """At least the values of those `keys` that have one; raises what the query raises."""
        wanted = dict.fromkeys(keys)
        while True:
            batch = self._gathering
            if batch is None or len(batch.keys) >= MAX_KEYS:
                return await self._lead(wanted)
            batch.keys.update(wanted)
            await asyncio.wait([batch.result])
            if not batch.result.cancelled():
                return batch.result.result()
            # Whoever asked for all of us was cancelled: ask again.

    async def _lead(self, wanted: dict[K, None]) -> Mapping[K, V]:
        """Opens a batch, and runs its query as soon as the one before has ended."""
        batch = self._gathering = _Batch[K, V](wanted)
        try:
            async with self._turn:
                self._close(batch)
                found = await self._query(list(batch.keys))
            batch.result.set_result(found)
        except Exception as error:
            batch.result.set_exception(error)
            raise
        finally:
            self._close(batch)
            batch.result.cancel()
        return found

    def _close(self, batch: _Batch[K, V]) -> None:
        if self._gathering is batch:
            self._gathering = None
