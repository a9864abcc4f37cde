"""Files that an account has uploaded, to be attached to messages that are written later."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class FileFields:
    """`md5`: of the octets, in hexadecimal; no protection, a check sum. `cid`: without <>, "" for none."""

    filename: str
    content_type: str
    cid: str
    md5: str


@dataclass(frozen=True, slots=True)
class UserFile(FileFields):
    """`size`: octets."""

    id: str
    size: int
    created: datetime


@dataclass(frozen=True, slots=True)
class FilePlace:
    """Where in a listing by name a file stands."""

    filename: str
    id: str


@dataclass(frozen=True, slots=True)
class FileQuery:
    """A page by name: behind `after`, or right ahead of `before`. `text`: part of the name, as it is written."""

    limit: int
    text: str = ""
    after: FilePlace | None = None
    before: FilePlace | None = None


@dataclass(frozen=True, slots=True)
class FileSlice:
    files: list[UserFile]
    total: int
    has_previous: bool
    has_next: bool
