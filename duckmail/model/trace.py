"""The story of one message: what happened to it here, step by step. Never its content."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import NamedTuple

from duckmail.model.address import view
from duckmail.model.network import wide_network

LONGEST_ID = 500  # characters of a Message-ID, an address or a host that are looked at
MOST_KEYS = 200  # under which one step is found
_OURS = "@duckmail.invalid"  # a message without a Message-ID is shown under its own id, with this behind it
_CONTENT = "@content.duckmail.invalid"


class Step(Enum):
    DELIVERY = "delivery"  # it came in for one recipient
    REFUSED = "refused"  # it, or what was to come before it, was not taken
    QUEUED = "queued"  # it is to go out
    ATTEMPT = "attempt"  # it was tried to send it


class TraceEntry(NamedTuple):  # no dataclass: each delivery makes one, and a tuple is made in a third of the time
    """`message_id`: normalised, "" where there is no message yet. `user`: whose message it is here, "" for the server's
    own. `about`: of JSON's types. `id`: "" until it is kept."""

    message_id: str
    user: str
    step: Step
    at: datetime
    about: Mapping[str, object]
    id: str = ""

    @property
    def keys(self) -> tuple[str, ...]:
        """Under which it is found."""
        return keys_of(self.message_id, self.about)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Steps that are looked for: all that is given holds. `address`: of a sender or a recipient. `session`: the id of a
    connection. `queue`: an id of the queue. `client`: the address of who connected, or its network."""

    message_id: str = ""
    address: str = ""
    session: str = ""
    queue: str = ""
    client: str = ""
    after: datetime | None = None
    before: datetime | None = None

    @property
    def keys(self) -> list[list[str]]:
        """A step has one of each."""
        name = normal_id(self.message_id)
        found = [
            ["m:" + name] if name else [],
            ["a:" + _address(self.address)] if self.address else [],
            ["s:" + _short(self.session)] if self.session else [],
            ["q:" + _short(self.queue)] if self.queue else [],
            # What was only counted is noted for the network.
            sorted({"c:" + _short(each.lower()) for each in (self.client, wide_network(self.client)) if each}),
        ]
        return [each for each in found if each]


def normal_id(message_id: str) -> str:
    """A Message-ID as it is kept and looked for: without white space and angle brackets around it; "" for none."""
    return _short(message_id.strip().removeprefix("<").removesuffix(">"))


def story_id(message_id: str, content: str) -> str:
    """The name of a story: the Message-ID, and without one the id of the content, which goes on with the message."""
    return normal_id(message_id) or f"{content}{_CONTENT}"


def keys_of(message_id: str, about: Mapping[str, object]) -> tuple[str, ...]:
    """Under which a step is found, from what it tells."""
    keys = ["m:" + message_id] if message_id else []
    if message_id.endswith(_CONTENT) and "message" in about:
        keys.append(f"m:{about['message']}{_OURS}")
    named = [about.get("sender"), about.get("recipient")]
    if recipients := about.get("recipients"):
        named += _each(recipients)
    keys += ["a:" + _address(str(each)) for each in named if each and each != "<>"]
    if connection := about.get("connection"):
        keys.append("s:" + _short(str(connection)))
    if queue := about.get("queue"):
        keys.append("q:" + _short(str(queue)))
    if client := about.get("client") or about.get("from"):
        keys.append("c:" + _short(str(client).lower()))
    return tuple(dict.fromkeys(keys))[:MOST_KEYS]


def _each(recipients: object) -> Iterable[object]:
    for each in recipients if isinstance(recipients, list | tuple) else ():
        yield each.get("address") if isinstance(each, Mapping) else each


def _address(address: str) -> str:
    return _short(view(_short(address)))


def _short(text: str) -> str:
    return cut(text, LONGEST_ID)


def cut(text: str, longest: int) -> str:
    """At most `longest` characters, none of which UTF-8 does not have."""
    short = text[:longest]
    return short if short.isascii() else short.encode("utf-8", "replace").decode()
