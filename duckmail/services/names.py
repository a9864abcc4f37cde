"""What user names and mail addresses look like where people choose them: stricter than what mail may come from."""

import re

MAX_USERNAME = 128

# Runs of letters, digits and `-`, joined by single `.` `_` `=` `:`; optionally `@` and the same again.
USERNAME_PATTERN = r"[a-z0-9-]+(?:[._=:][a-z0-9-]+)*(?:@[a-z0-9-]+(?:[._=:][a-z0-9-]+)*)?"
_USERNAME = re.compile(USERNAME_PATTERN)
# RFC 5321 §4.1.2 Dot-string with RFC 6531 §3.3 UTF8-non-ascii; no quotes, no blanks, no control characters.
_LOCAL = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u00a1-\U0010ffff-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u00a1-\U0010ffff-]+)*"
)
_LABEL = re.compile(r"[A-Za-z0-9\u00a1-\U0010ffff](?:[A-Za-z0-9\u00a1-\U0010ffff-]{0,61}[A-Za-z0-9\u00a1-\U0010ffff])?")
_MAX_LOCAL = 64  # octets, RFC 5321 §4.5.3.1.1
_MAX_DOMAIN = 255  # octets, RFC 5321 §4.5.3.1.2


def is_username(name: str) -> bool:
    """A user name as it is stored: lower case."""
    return len(name) <= MAX_USERNAME and _USERNAME.fullmatch(name) is not None


def is_email(address: str, *, least: int = 2) -> bool:
    """A mail address with a domain of `least` labels or more; `*` may stand in the local part."""
    local, at, domain = address.rpartition("@")
    if not at or len(local.encode("utf-8", "replace")) > _MAX_LOCAL or not _LOCAL.fullmatch(local):
        return False
    if any(char.isspace() or not char.isprintable() for char in local):
        return False
    return is_domain(domain, least=least)


def is_domain(domain: str, *, least: int = 2) -> bool:
    """A mail domain of `least` labels or more, in ASCII or Unicode."""
    if len(domain.encode("utf-8", "replace")) > _MAX_DOMAIN:
        return False
    if any(char.isspace() or not char.isprintable() for char in domain):
        return False
    labels = domain.split(".")
    return len(labels) >= least and all(_LABEL.fullmatch(label) for label in labels) and not labels[-1].isdecimal()
