"""Orders of messages (RFC 5256 §3, RFC 5957, RFC 6203 §5) and threads of them, for edges and services alike."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum


class SortKey(Enum):
    """What to sort by; the value is the word of the protocol."""

    ARRIVAL = "ARRIVAL"
    CC = "CC"
    DATE = "DATE"
    FROM = "FROM"
    SIZE = "SIZE"
    SUBJECT = "SUBJECT"
    TO = "TO"
    DISPLAYFROM = "DISPLAYFROM"
    DISPLAYTO = "DISPLAYTO"
    RELEVANCY = "RELEVANCY"


@dataclass(frozen=True, slots=True)
class SortBy:
    key: SortKey
    reverse: bool = False


class Threading(Enum):
    """How threads are made; the value is the word of the protocol."""

    ORDEREDSUBJECT = "ORDEREDSUBJECT"
    REFERENCES = "REFERENCES"
    REFS = "REFS"


@dataclass(slots=True, eq=False)
class ThreadNode:
    """A message and what answers it. `uid`: 0 for a message that is not there, whose answers are."""

    uid: int = 0
    children: "Sequence[ThreadNode]" = field(default=())
