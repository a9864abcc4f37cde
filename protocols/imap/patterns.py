"""Mailbox patterns of LIST and LSUB (RFC 3501 §6.3.8): `*` matches anything, `%` anything but the separator.

All positions of the pattern that a prefix of the name can have led to are the bits of one integer, moved on once per
character: no pattern makes it go back, whatever its wildcards (H6).
"""

from duckmail.model.mailbox import INBOX, SEPARATOR

MAX_PATTERN = 4096  # characters; the cost of a character of a name grows with it, by one octet in eight


class Pattern:
    def __init__(self, text: str) -> None:
        """Wildcards in a row are one: `*` if one of them is, else `%`."""
        self._literals: dict[str, int] = {}  # character -> positions where the pattern has it
        self._any = self._level = 0  # positions of `*` and of `%`
        position = 0
        wildcard = ""
        for char in text[:MAX_PATTERN]:
            if char in "*%":
                wildcard = "*" if "*" in (char, wildcard) else "%"
                continue
            position = self._put_wildcard(wildcard, position)
            wildcard = ""
            self._literals[char] = self._literals.get(char, 0) | 1 << position
            position += 1
        self._end = 1 << self._put_wildcard(wildcard, position)
        self._whole = len(text) <= MAX_PATTERN

    def _put_wildcard(self, wildcard: str, position: int) -> int:
        if not wildcard:
            return position
        if wildcard == "*":
            self._any |= 1 << position
        else:
            self._level |= 1 << position
        return position + 1

    def matches(self, path: str) -> bool:
        """The whole of `path`. RFC 3501 §5.1: a first level INBOX is compared without ASCII case."""
        folded = len(INBOX) if path.split(SEPARATOR, 1)[0] == INBOX else 0
        wild = self._any | self._level
        states = 1 | (1 & wild) << 1  # a wildcard may stand for nothing
        for index, char in enumerate(path):
            here = self._literals.get(char, 0)
            if index < folded:
                here |= self._literals.get(char.lower(), 0)
            stay = self._any if char == SEPARATOR else wild
            states = (states & here) << 1 | states & stay
            states |= (states & wild) << 1
            if not states:
                return False
        return self._whole and bool(states & self._end)
