"""The outbound queue as those see and steer it who run the server."""

from collections.abc import Sequence
from typing import Protocol

from duckmail.model.account import Principal
from duckmail.model.queue import QueuedMessage
from duckmail.services.access import require_server


class Queue(Protocol):
    """What is needed of `duckmail.services.queue.queue.Queue`."""

    async def page(self, most: int, after: str = "", *, ended: bool = False) -> Sequence[QueuedMessage]: ...

    async def get(self, identifier: str) -> QueuedMessage: ...

    async def hold(self, identifier: str) -> None: ...

    async def release(self, identifier: str) -> None: ...

    async def retry(self, identifier: str | None = None) -> int: ...

    async def remove(self, identifier: str, *, notify: bool = False) -> None: ...


class QueueByHand:
    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def page(self, most: int, by: Principal, after: str = "", *, ended: bool) -> Sequence[QueuedMessage]:
        """The oldest, or those behind `after`; with `ended` also those of the last days that are at their end.

        Raises: NotFound (not an id), NotPermitted, Unavailable.
        """
        require_server(by)
        return await self._queue.page(most, after, ended=ended)

    async def get(self, identifier: str, by: Principal) -> QueuedMessage:
        """Raises: NotFound, NotPermitted, Unavailable."""
        require_server(by)
        return await self._queue.get(identifier)

    async def hold(self, identifier: str, by: Principal, *, held: bool) -> None:
        """It is not tried until it is held no more. Raises: NotFound, NotPermitted, Unavailable."""
        require_server(by)
        await (self._queue.hold(identifier) if held else self._queue.release(identifier))

    async def retry(self, identifier: str, by: Principal) -> bool:
        """Makes it due now; whether it is: not while it is being sent, or at its end.

        Raises: NotFound, NotPermitted, Unavailable.
        """
        require_server(by)
        await self._queue.get(identifier)
        return await self._queue.retry(identifier) > 0

    async def remove(self, identifier: str, by: Principal, *, notify: bool) -> None:
        """Ends it for all that wait for it; `notify`: the sender is told.

        Raises: NotFound, InUse: it is being sent right now. NotPermitted, Unavailable.
        """
        require_server(by)
        await self._queue.remove(identifier, notify=notify)
