"""i;unicode-casemap (RFC 5051): how strings are compared without regard to case, in searching and in sorting."""

from unicodedata import normalize

LAST_CASED = 0x1E943
"""No character behind this one has another case."""


def _simple_titlecase() -> dict[int, str]:
    """Of the characters that have one; RFC 5051 §2 takes the simple mapping, of one character to one."""
    return {
        point: title for point in range(LAST_CASED + 1) if len(title := chr(point).title()) == 1 and ord(title) != point
    }


_TITLE = _simple_titlecase()


def sort_key(text: str) -> str:
    """Strings are in order as their keys are, code point by code point: RFC 5051 §2, in Python's own order of text.

    Code points are in the order of their UTF-8 octets, which is what i;octet compares.
    """
    return text.upper() if text.isascii() else normalize("NFKD", text.translate(_TITLE))


def fold(text: str) -> str:
    """For equality and substrings; the full case folding, so that also ß is ss."""
    return text.lower() if text.isascii() else normalize("NFKD", text.casefold())
