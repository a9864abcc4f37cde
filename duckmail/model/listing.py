"""Messages as listings show them, and pages of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

Pairs = Sequence[Sequence[str]]  # of display name and address


@dataclass(frozen=True, slots=True)
class ListedAttachment:
    """`path`: the part number. `size`: octets as transferred. `cid`: without <>. `related`: shown inside the text."""

    path: str
    filename: str
    content_type: str
    disposition: str
    encoding: str
    size: int
    cid: str
    related: bool


@dataclass(frozen=True, slots=True)
class ListedMessage:
    """One message as its document tells, without a look at its content.

    `flags`: names. `date`: of the Date field, else the internal one. `addresses`: by field (`from`, `replyto`, `to`,
    `cc`, `bcc`), absent ones left out. `references`: message ids with their <>. `structure`: its BODYSTRUCTURE;
    b"" for a very long one, and then `content_type` is the body of the Content-Type field.
    `header`: the header block, prefix included, when it was asked for. `meta_data`: a JSON object.
    """

    id: str
    mailbox: str
    uid: int
    thread: str
    flags: tuple[str, ...]
    idate: datetime
    date: datetime
    size: int
    subject: str
    message_id: str
    intro: str
    addresses: Mapping[str, Pairs]
    attachments: Sequence[ListedAttachment]
    references: Sequence[str]
    structure: bytes
    content_type: bytes = b""
    header: bytes = b""
    meta_data: str = field(default="{}", repr=False)
    expires: datetime | None = None


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where in a mailbox, sorted by internal date, a message stands."""

    moment: datetime
    uid: int


@dataclass(frozen=True, slots=True)
class MailboxQuery:
    """A page of a mailbox by internal date: behind `after`, or right ahead of `before`.

    `unseen`: True for those not seen, False for those seen, None for all.
    """

    limit: int
    ascending: bool = False
    after: Place | None = None
    before: Place | None = None
    unseen: bool | None = None


@dataclass(frozen=True, slots=True)
class MessagePage:
    messages: list[ListedMessage]
    total: int
    has_previous: bool
    has_next: bool
