"""Search criteria as a tree, for IMAP SEARCH, the API and background work alike.

Edges build it, `duckmail.services.search` evaluates it with true boolean semantics. Strings are Unicode; matching is
case-insensitive substring on decoded values (RFC 3501 §6.4.4).
"""

from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum

from duckmail.model.ranges import Ranges


@dataclass(frozen=True, slots=True)
class All:
    """Every message."""


@dataclass(frozen=True, slots=True)
class And:
    children: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Or:
    children: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Not:
    child: "Node"


@dataclass(frozen=True, slots=True)
class Flag:
    """The message has this system flag or keyword (name as `\\Seen` or `$Forwarded`; case does not matter)."""

    name: str


@dataclass(frozen=True, slots=True)
class Recent:
    """The message is \\Recent in this session."""


@dataclass(frozen=True, slots=True)
class Uids:
    """The UID is in the set; sequence numbers and `*` are already resolved by the edge that built this."""

    uids: Ranges


class DateField(Enum):
    INTERNAL = "idate"
    SENT = "hdate"
    SAVED = "savedate"


@dataclass(frozen=True, slots=True)
class DateRange:
    """`since` <= the calendar day < `before`; either end may be open. Days are UTC for INTERNAL and SAVED; for SENT
    the day written in the Date header, time and zone disregarded (RFC 3501 §6.4.4)."""

    field: DateField
    since: date | None = None
    before: date | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """RFC822.SIZE is strictly larger / strictly smaller, in octets."""

    larger: int | None = None
    smaller: int | None = None


@dataclass(frozen=True, slots=True)
class Header:
    """Some header field `name` (lower case) exists and its decoded value contains `value`; "" matches any value."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Body:
    """The decoded text of the body contains it."""

    value: str


@dataclass(frozen=True, slots=True)
class Text:
    """The decoded header block or the decoded text of the body contains it."""

    value: str


@dataclass(frozen=True, slots=True)
class ModSeq:
    """The message's modseq is at or above it (RFC 7162 §3.1.5)."""

    least: int


@dataclass(frozen=True, slots=True)
class Within:
    """Internal date younger / older than so many seconds (RFC 5032)."""

    younger: int | None = None
    older: int | None = None


@dataclass(frozen=True, slots=True)
class Thread:
    """The message's thread has this id."""

    id: str


@dataclass(frozen=True, slots=True)
class EmailId:
    """The message, or a copy of it, has this id; a copy keeps it (RFC 8474 §5.1)."""

    id: str


@dataclass(frozen=True, slots=True)
class Attached:
    """The message has a file that is not only shown inside its text."""


@dataclass(frozen=True, slots=True)
class Between:
    """`since` <= the internal date < `before`, to the moment; either end may be open."""

    since: datetime | None = None
    before: datetime | None = None


Node = (
    All
    | And
    | Or
    | Not
    | Flag
    | Recent
    | Uids
    | DateRange
    | Size
    | Header
    | Body
    | Text
    | ModSeq
    | Within
    | Thread
    | EmailId
    | Attached
    | Between
)
