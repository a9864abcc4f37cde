"""Annotations of mailboxes and of the server (RFC 5464): entries with names like paths, and values of any octets."""

import re
from collections.abc import Iterator, Mapping

from duckmail.errors import InvalidInput

PRIVATE, SHARED = "/private", "/shared"
MAX_NAME = 255  # characters
MAX_VALUE = 16 * 1024  # octets
MAX_ENTRIES = 100  # of one mailbox
MAX_ACCOUNT = 1024 * 1024  # octets of all names and values of an account

# RFC 5464 §3.1: no control characters, no wildcards, no empty component; §3: the first one is one of two.
_NAME = re.compile(r"/(?:private|shared)(?:/[!-$&-)+-.0-~ ]+)*")


def entry_name(text: str) -> str:
    """In lower case (RFC 5464 §3.1: names are compared without case). Raises: InvalidInput."""
    name = text.lower()
    if len(name) > MAX_NAME or _NAME.fullmatch(name) is None:
        raise InvalidInput("Invalid entry name")
    return name


def within(entries: Mapping[str, bytes], name: str, depth: int | None) -> Iterator[str]:
    """The names of `entries` that are `name` or at most `depth` levels below it; None: any number (RFC 5464 §4.2.2)."""
    for found in sorted(entries):
        rest = found[len(name) :] if found.startswith(name) else None
        if rest == "" or (rest and rest[0] == "/" and (depth is None or rest.count("/") <= depth)):
            yield found
