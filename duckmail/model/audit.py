"""Audits: copies of what an account has and gets, for who has to answer for it."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Audit:
    """
    Args:
        start, end: of the time whose messages are copied, by their internal date; None for no bound.
        expires: when the audit is deleted with its copies.
        status: of what was there before: `queued`, `importing`, `imported`, `failed`.
        copied: messages that it has.
        failed: messages that could not be copied.
    """

    id: str
    user: str
    start: datetime | None
    end: datetime | None
    expires: datetime
    status: str
    copied: int
    failed: int


@dataclass(frozen=True, slots=True)
class AuditedMessage:
    """`prefix`: header lines before the content. `path`: the mailbox it was in, "" when it was only sent."""

    id: str
    content: str
    prefix: bytes
    idate: datetime
    path: str
    draft: bool
