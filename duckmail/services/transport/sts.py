"""MTA-STS (RFC 8461): the record that announces a policy, the policy, and which hosts it allows. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from duckmail.model.address import ascii_domain

LARGEST = 64 * 1024  # RFC 8461 §3.3: octets of a policy that are read
LONGEST_AGE = 31_557_600  # RFC 8461 §3.2: seconds, about a year
MOST_PATTERNS = 100

# RFC 8461 §3.1: sts-version *(sts-field-delim sts-field) [sts-field-delim]; blanks around are of no account.
_VERSION = re.compile(r"v=STSv1[ \t]*(?:;|\Z)")
_ID = re.compile(r"(?:^|;)[ \t]*id=([A-Za-z0-9]{1,32})[ \t]*(?=;|\Z)")
_FIELD = re.compile(r"[ \t]*([A-Za-z0-9][A-Za-z0-9_.-]{0,31})[ \t]*:[ \t]*(.*?)[ \t]*")


class Malformed(ValueError):
    """It is no policy."""


class Mode(Enum):
    """RFC 8461 §5."""

    ENFORCE = "enforce"
    TESTING = "testing"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Policy:
    """`mx`: patterns of hosts, in lower case. `max_age`: seconds. `strings`: its lines, for reports."""

    mode: Mode
    mx: tuple[str, ...]
    max_age: int
    strings: tuple[str, ...] = ()

    def allows(self, host: str) -> bool:
        """Whether mail may go to this host."""
        host = host.removesuffix(".").lower()
        # RFC 8461 §4.1: `*.` stands for one label, the leftmost.
        return any(pattern == host or pattern == f"*.{host.partition('.')[2]}" for pattern in self.mx)


def record_id(texts: Sequence[str]) -> str:
    """The id of the policy that the TXT records of `_mta-sts.DOMAIN` announce; "" for none."""
    # RFC 8461 §3.1: other records are discarded; of several, or none, there is no policy.
    ours = [text for text in texts if _VERSION.match(text)]
    found = _ID.search(ours[0]) if len(ours) == 1 else None
    return found[1] if found else ""


def parse(body: bytes) -> Policy:
    """A policy as it was fetched. Raises: Malformed."""
    try:
        text = body.decode("ascii")
    except UnicodeDecodeError:
        raise Malformed("octets beyond ASCII") from None
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line.strip()]
    fields: dict[str, str] = {}
    patterns: list[str] = []
    for line in lines:
        found = _FIELD.fullmatch(line)
        if found is None:
            raise Malformed("a line that is no field")
        if found[1] == "mx":
            patterns.append(_pattern(found[2]))
        else:
            fields.setdefault(found[1], found[2])  # RFC 8461 §3.2: of several, all but the first are ignored
    if fields.get("version") != "STSv1":
        raise Malformed("no version STSv1")
    return _policy(fields, patterns, lines)


def _policy(fields: dict[str, str], patterns: list[str], lines: list[str]) -> Policy:
    try:
        mode = Mode(fields.get("mode", ""))
    except ValueError:
        raise Malformed("no mode") from None
    age = fields.get("max_age", "")
    if not re.fullmatch(r"[0-9]{1,10}", age):
        raise Malformed("no max_age")
    # RFC 8461 §3.2: at least one pattern, but for mode `none`.
    if (not patterns and mode is not Mode.NONE) or len(patterns) > MOST_PATTERNS:
        raise Malformed("no mx, or too many")
    return Policy(mode, tuple(patterns), min(int(age), LONGEST_AGE), tuple(lines[: MOST_PATTERNS + 10]))


def _pattern(text: str) -> str:
    wild = "*." if text.startswith("*.") else ""
    try:
        return wild + ascii_domain(text.removeprefix(wild))
    except ValueError:
        raise Malformed("a pattern that is no host") from None
