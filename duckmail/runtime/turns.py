"""Turns at the event loop: work that may be long for what a client sent lets others run in between."""

import asyncio
from time import monotonic

HOLD_SECONDS = 0.003


class Turns:
    """`await turns.pause()` between pieces of work. Measured in time: what a piece costs is the client's choice."""

    def __init__(self, seconds: float = HOLD_SECONDS) -> None:
        self._seconds = seconds
        self._since = monotonic()

    async def pause(self) -> None:
        """Others run now if this task has had the loop for long."""
        if monotonic() - self._since >= self._seconds:
            await asyncio.sleep(0)
            self._since = monotonic()
