"""What happens to accounts, as others are told of it: names of two or three parts, and fields of JSON."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

ALL = "*"


@dataclass(frozen=True, slots=True)
class Event:
    """`user`: the account it concerns, "" for none. `fields`: None ones are left out."""

    name: str
    user: str
    fields: Mapping[str, object]

    @property
    def types(self) -> tuple[str, ...]:
        """For which it is told, as clients of the contract know them: the whole name, all, the name's first part."""
        return (self.name, ALL, f"{self.name.partition('.')[0]}.{ALL}")

    def body(self) -> dict[str, object]:
        """What is posted, but for its id."""
        about = {"user": self.user} if self.user else {}
        given = {key: value for key, value in self.fields.items() if value is not None}
        return {"time": int(time.time() * 1000), "ev": self.name, **about, **given}


# What is to be told of something that is made in a transaction, by its id: part of the same commit.
Told = Callable[[str], Sequence[Event]]


def nobody(_: object) -> Sequence[Event]:
    """Nothing is told."""
    return ()


def of(name: str, user: str = "", /, **fields: object) -> Event:
    """`name`: `user.created`."""
    return Event(name, user, fields)


class Events(Protocol):
    """For what changes by one statement; what changes by a transaction gives `Event`s to it."""

    async def emit(self, name: str, user: str = "", /, **fields: object) -> None:
        """Tells of `name` (`user.created`). `user`: the account it concerns, "" for none. Never raises: it is done."""
        ...


class Silent:
    """Nobody is told."""

    async def emit(self, name: str, user: str = "", /, **fields: object) -> None:
        """Does nothing."""


SILENT: Events = Silent()
