"""What the committer carries out: changes on their way, and which of them commit together."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Any

from duckmail.errors import DuckmailError
from storage.changes.append import Append
from storage.changes.base import Change

GROUP_MAILBOXES = 64
GROUP_MESSAGES = 1_000
GROUP_OCTETS = 4 * 1024 * 1024
QUEUE_SECONDS = 30.0  # that a change waits for its turn


class Item:
    """A change on its way, and who waits for it."""

    __slots__ = ("change", "expires", "future")

    def __init__(self, change: Change, future: asyncio.Future[Any]) -> None:
        self.change = change
        self.future = future
        self.expires = time.monotonic() + QUEUE_SECONDS

    def succeed(self, result: object) -> None:
        if not self.future.done():
            self.future.set_result(result)

    def fail(self, error: DuckmailError) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Group:
    """Appends that will commit together."""

    def __init__(self, most: int) -> None:
        """`most`: messages, where one append alone has not more."""
        self.items: list[Item] = []
        self._most = min(most, GROUP_MESSAGES)
        self._mailboxes = self._messages = self._octets = 0

    def take(self, queue: Iterable[Item]) -> None:
        """The appends at the head of one mailbox's queue, as many as there is room for; the first of all always has."""
        self._mailboxes += 1
        for item in queue:
            append = item.change
            if not isinstance(append, Append):
                return
            messages, octets = self._messages + len(append.messages), self._octets + append.octets
            if self.items and (messages > self._most or octets > GROUP_OCTETS):
                return
            self.items.append(item)
            self._messages, self._octets = messages, octets

    @property
    def full(self) -> bool:
        return self._mailboxes >= GROUP_MAILBOXES or self._messages >= self._most or self._octets >= GROUP_OCTETS


class Flight:
    """Changes that are being carried out in one transaction, or alone after its failure."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        self.keys = {key for item in items for key in item.change.keys}
        self.gathering = isinstance(items[0].change, Append)  # while it is in flight the next group of appends gathers
