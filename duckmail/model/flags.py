"""Message flags: names at the edges, one integer mask per message inside.

A mask is an unsigned 63-bit integer: bits 0-4 are the system flags, bits 5-62 the keywords, in the order of the
mailbox's append-only keyword table. Bits therefore mean something only together with one mailbox.
"""

from collections.abc import Iterable, Iterator, Sequence

ANSWERED = 1
FLAGGED = 2
DELETED = 4
SEEN = 8
DRAFT = 16

SYSTEM_FLAGS: tuple[str, ...] = ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")
FIRST_KEYWORD_BIT = len(SYSTEM_FLAGS)
MAX_KEYWORDS = 63 - FIRST_KEYWORD_BIT
# RFC 9051 §2.3.2, RFC 8457 §2: what many clients use. They are in no table before somebody does.
KNOWN_KEYWORDS: tuple[str, ...] = ("$Forwarded", "$MDNSent", "$Junk", "$NotJunk", "$Phishing", "$Important")

_SYSTEM_BITS = {name.lower(): 1 << bit for bit, name in enumerate(SYSTEM_FLAGS)}


def system_bit(name: str) -> int:
    """The bit of a system flag, compared without ASCII case; 0 when `name` is none."""
    return _SYSTEM_BITS.get(name.lower(), 0)


def keyword_bit(name: str, keywords: Sequence[str]) -> int:
    """The bit of a keyword in a mailbox's table, compared without ASCII case; 0 when it is not in the table."""
    wanted = name.lower()
    for index, known in enumerate(keywords):
        if known.lower() == wanted:
            return 1 << (FIRST_KEYWORD_BIT + index)
    return 0


def to_mask(names: Iterable[str], keywords: Sequence[str]) -> int:
    """The mask of `names`; keywords that the table does not hold are left out (see `missing_keywords`)."""
    mask = 0
    for name in names:
        mask |= system_bit(name) or keyword_bit(name, keywords)
    return mask


def missing_keywords(names: Iterable[str], keywords: Sequence[str]) -> list[str]:
    """The keywords among `names` that the table lacks: first spelling kept, each once, in order."""
    missing: dict[str, str] = {}
    for name in names:
        if not system_bit(name) and not keyword_bit(name, keywords):
            missing.setdefault(name.lower(), name)
    return list(missing.values())


def to_names(mask: int, keywords: Sequence[str]) -> tuple[str, ...]:
    """The flag names of a mask: system flags first, then keywords in table order."""
    return tuple(_names(mask, keywords))


def _names(mask: int, keywords: Sequence[str]) -> Iterator[str]:
    for bit, name in enumerate(SYSTEM_FLAGS):
        if mask >> bit & 1:
            yield name
    rest = mask >> FIRST_KEYWORD_BIT
    index = 0
    while rest:
        if rest & 1 and index < len(keywords):
            yield keywords[index]
        rest >>= 1
        index += 1


def translate(mask: int, source: Sequence[str], target: Sequence[str]) -> int:
    """A mask of one mailbox's table as a mask of another's, by name; the target must hold every keyword set."""
    if mask < 1 << FIRST_KEYWORD_BIT or list(source[: len(target)]) == list(target[: len(source)]) == list(source):
        return mask
    return to_mask(to_names(mask, source), target)
