"""What happens to accounts, as others are told of it: names of two or three parts, and fields of JSON."""

from typing import Protocol


class Events(Protocol):
    async def emit(self, name: str, user: str = "", /, **fields: object) -> None:
        """Tells of `name` (`user.created`). `user`: the account it concerns, "" for none. Never raises: it is done."""
        ...


class Silent:
    """Nobody is told."""

    async def emit(self, name: str, user: str = "", /, **fields: object) -> None:
        """Does nothing."""


SILENT: Events = Silent()
