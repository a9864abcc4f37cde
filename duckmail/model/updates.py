"""What a client that follows an account is told, and where it stands in that."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Spot:
    """How much of one mailbox is known: all up to `modseq`; UIDs below `uidnext` are not new. `path`: its digest."""

    modseq: int
    uidnext: int
    path: bytes


Position = dict[str, Spot]  # by mailbox id


@dataclass(frozen=True, slots=True)
class ChangedMessage:
    """A message as it stands after what changed. `flags`: names."""

    id: str
    uid: int
    modseq: int
    flags: tuple[str, ...]
    idate: datetime
    thread: str


@dataclass(frozen=True, slots=True)
class Update:
    """`command`: EXISTS, EXPUNGE, FETCH, COUNTERS, CREATE, RENAME, DELETE or LOGOUT. `fields`: what it says beside."""

    command: str
    fields: dict[str, object]
