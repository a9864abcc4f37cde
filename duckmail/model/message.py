"""Messages on their way into and out of the store."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import Flag, auto
from typing import Protocol

from duckmail.mime.index import Index
from duckmail.model.sharing import ALL_FLAGS


class Needs(Flag):
    """What a fetch item or search key needs to be loaded; the union becomes the projection."""

    NOTHING = 0
    META = auto()  # idate, savedate, size, id, emailid, thread
    ENVELOPE = auto()
    BODYSTRUCTURE = auto()
    HEADER = auto()  # the header block
    PREVIEW = auto()  # the beginning of the text
    CONTENT = auto()  # the MIME index, and octets to read


class Content(Protocol):
    """The immutable octets of one message, shared by every copy. Offsets count from its first octet."""

    @property
    def id(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def index(self) -> Index: ...

    def read(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """The octets from `start` up to `stop`, in pieces of at most 256 KiB; without I/O when they are inline.

        Raises:
            Unavailable: the database does not answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One message of a mailbox as loaded; what was not in `needs` keeps its default.

    The message that a client sees is `prefix` (whole header lines added at delivery) followed by the content;
    `size` counts both. `envelope` and `bodystructure` are IMAP data, ready for the wire. `header` is the content's
    header block with its empty line, without the prefix.
    """

    uid: int
    id: str = ""
    mailbox: str = ""
    flags: int = 0
    modseq: int = 0
    idate: datetime | None = None
    savedate: datetime | None = None
    size: int = 0
    emailid: str = ""
    thread: str = ""
    prefix: bytes = b""
    envelope: bytes = b""
    bodystructure: bytes = b""
    intro: str = ""
    header: bytes = b""
    content: Content | None = None


@dataclass(frozen=True, slots=True)
class Details:
    """What only the API knows of a message.

    `meta_data`: a JSON object, "" for none. `reference`: (action, mailbox id, UID) of the message that it answers or
    forwards. `files`: (id, name, media type, octets) of the account's files that it was made with. `bimi`: (domain,
    selector). `outbound`: ids in the queue. `forwarded`: where it was sent on to: (`mail`, `relay` or `http`, where).
    """

    meta_data: str = field(default="", repr=False)
    reference: tuple[str, str, int] | None = None
    files: tuple[tuple[str, str, str, int], ...] = ()
    bimi: tuple[str, str] | None = None
    outbound: tuple[str, ...] = ()
    forwarded: tuple[tuple[str, str], ...] = ()


NO_DETAILS = Details()


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to append: prepared content plus what is its own in this mailbox.

    `flags`: names, system and keywords. `idate`: None means the moment of the commit.
    `delivery_key`: set for deliveries; a second append with the same key stores nothing (DESIGN §5 Delivery).
    """

    content: Content
    flags: tuple[str, ...] = ()
    idate: datetime | None = None
    prefix: bytes = b""
    delivery_key: bytes | None = None
    details: Details = NO_DETAILS


@dataclass(frozen=True, slots=True)
class Appended:
    """Where a message went. `duplicate`: the delivery key was known, nothing was stored now."""

    mailbox: str
    uidvalidity: int
    uid: int
    id: str
    duplicate: bool = False


class FlagOperation(Flag):
    REPLACE = auto()
    ADD = auto()
    REMOVE = auto()


@dataclass(frozen=True, slots=True)
class FlagChange:
    """STORE: what to do with which flag names. `unchanged_since`: modseq condition; None for none, 0 is one.
    `within`: the bits that may change at all."""

    operation: FlagOperation
    flags: tuple[str, ...]
    unchanged_since: int | None = None
    within: int = ALL_FLAGS


@dataclass(frozen=True, slots=True)
class StoreResult:
    """`changed`: UIDs whose flags are now different. `failed`: UIDs refused by `unchanged_since`, untouched.
    `missing`: UIDs that no longer exist. `modseq`: the mailbox's after it."""

    changed: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    modseq: int = 0


@dataclass(frozen=True, slots=True)
class CopyResult:
    """COPY and MOVE: the i-th of `source` became the i-th of `target`; both ascending."""

    uidvalidity: int
    source: list[int] = field(default_factory=list)
    target: list[int] = field(default_factory=list)
