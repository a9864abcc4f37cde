"""A mailbox as a value, and the rules of mailbox names."""

import re
from dataclasses import dataclass

from duckmail.errors import Cannot, InvalidInput
from duckmail.model.account import Quota
from duckmail.model.sharing import ALL_RIGHTS, Grant, effective

INBOX = "INBOX"
SEPARATOR = "/"
MAX_LEVELS = 128
MAX_LEVEL_LENGTH = 512
MAX_PATH = 4096  # characters; every LIST handles all paths of the account
SPECIAL_USES = ("\\All", "\\Archive", "\\Drafts", "\\Flagged", "\\Junk", "\\Sent", "\\Trash", "\\Important")
VIRTUAL_USES = ("\\All", "\\Flagged")  # of mailboxes that show what others hold, which do not exist here
CREATABLE_USES = tuple(use for use in SPECIAL_USES if use not in VIRTUAL_USES)

_CONTROL = re.compile("[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One mailbox with its counters as of one committed moment.

    `uidnext`, `modseq`: the next UID to be given; the highest modseq given (>= 1).
    `recentuid`: messages with a UID at or above it are \\Recent to the next read-write session.
    `keywords`: the append-only table that gives keyword bits their names.
    `vanishedfloor`: expunges with a modseq at or below it are no longer known one by one.
    `encrypt_messages`: what comes here is encrypted to the account's key.
    `acl`: what others may do with it. `annotated`: how often its annotations were changed, by whomever.
    """

    id: str
    user: str
    path: str
    uidvalidity: int
    uidnext: int
    modseq: int
    messages: int = 0
    unseen: int = 0
    deleted: int = 0
    size: int = 0
    recentuid: int = 1
    keywords: tuple[str, ...] = ()
    vanishedfloor: int = 0
    special_use: str | None = None
    subscribed: bool = True
    hidden: bool = False
    retention: int = 0
    encrypt_messages: bool = False
    acl: tuple[Grant, ...] = ()
    annotated: int = 0

    def rights(self, user: str) -> str:
        """What an account may do with it: its owner everything (RFC 4314 §2), another one what it was given."""
        return ALL_RIGHTS if user == self.user else effective(self.acl, user)


@dataclass(frozen=True, slots=True)
class MailboxChanges:
    """What of a mailbox is set anew; None leaves it. `retention`: milliseconds, 0 keeps mail for ever."""

    subscribed: bool | None = None
    hidden: bool | None = None
    retention: int | None = None
    encrypt_messages: bool | None = None

    def __bool__(self) -> bool:
        return any(value is not None for value in (self.subscribed, self.hidden, self.retention, self.encrypt_messages))


@dataclass(frozen=True, slots=True)
class Inbox:
    """Where an account's mail is delivered, and the octets and messages that all its mailboxes hold."""

    mailbox: str
    used: int
    messages: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """What an account has in its mailboxes, and may have. `octets`, `messages`: of all; `quota` is of them.
    `mailboxes`: how many, of at most `most`."""

    octets: int
    messages: int
    mailboxes: int
    quota: Quota
    most: int


def normalise_path(path: str) -> str:
    """`path` with a case-insensitive first `INBOX` in its one spelling.

    Raises:
        InvalidInput: empty, an empty level, a control character, too many or too long levels.
    """
    levels = path.split(SEPARATOR)
    if levels[0].upper() == INBOX:
        levels[0] = INBOX
    if any(not level for level in levels):
        raise InvalidInput("Mailbox names have no empty level")
    if _CONTROL.search(path):
        raise InvalidInput("Mailbox names have no control characters")
    if len(levels) > MAX_LEVELS:
        raise Cannot(f"Mailbox names have at most {MAX_LEVELS} levels")
    if len(path) > MAX_PATH:
        raise Cannot(f"Mailbox names have at most {MAX_PATH} characters")
    if any(len(level) > MAX_LEVEL_LENGTH for level in levels):
        raise Cannot(f"Any part of the mailbox path cannot be longer than {MAX_LEVEL_LENGTH} chars long")
    return SEPARATOR.join(levels)


def parents(path: str) -> list[str]:
    """The paths above `path`, outermost first."""
    levels = path.split(SEPARATOR)
    return [SEPARATOR.join(levels[:count]) for count in range(1, len(levels))]
