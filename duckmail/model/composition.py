"""A message that somebody writes: what it is to be made of, and what it refers to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

Person = tuple[str, str]  # display name and address


class Action(Enum):
    """What a new message is to the one that it refers to."""

    REPLY = "reply"
    REPLY_ALL = "replyAll"
    FORWARD = "forward"


@dataclass(frozen=True, slots=True)
class Reference:
    """`mailbox`: its id. `attachments`: which of the original's go along, by number from 1, or all or none of them."""

    mailbox: str
    uid: int
    action: Action
    attachments: bool | tuple[int, ...] = False


@dataclass(frozen=True, slots=True)
class NewAttachment:
    """`encoding`: of a content that is text (`mime.written`). `transfer_encoding`: that is wanted, "" for any."""

    content: str | bytes = field(repr=False)
    encoding: str = "base64"
    content_type: str = ""
    filename: str = ""
    cid: str = ""
    inline: bool = False
    transfer_encoding: str = ""


@dataclass(frozen=True, slots=True)
class Composition:
    """`sender`: None for the account's own name and address. `subject`: None for that of what it refers to.

    `files`: ids of files of the account that go along. `headers`: (name, text) of further fields, in order.
    """

    sender: Person | None = None
    reply_to: Person | None = None
    to: Sequence[Person] = ()
    cc: Sequence[Person] = ()
    bcc: Sequence[Person] = ()
    headers: Sequence[tuple[str, str]] = ()
    subject: str | None = None
    text: str = field(default="", repr=False)
    html: str = field(default="", repr=False)
    attachments: Sequence[NewAttachment] = ()
    files: Sequence[str] = ()
    reference: Reference | None = None
