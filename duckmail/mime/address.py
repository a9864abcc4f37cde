"""Address lists (RFC 5322 §3.4 and §4.4), read as tolerantly as they are written.

Nothing is an error: what has no @ becomes a mailbox without a domain, what is between is skipped. Linear.
"""

import re
from functools import lru_cache
from typing import NamedTuple

MAX_LIST = 2 << 20
"""Octets of one list that are read; 20,000 addresses are about 1 MiB."""
_KEPT = 32  # lists that are remembered ...
_KEPT_VALUE = 1000  # ... when they have at most so many octets

# One token behind any blanks. A word is an RFC 2047 word, whatever is in it, or anything but blanks and specials: so
# dot-atoms, raw UTF-8 and stray characters are words too.
_TOKEN = re.compile(
    rb"[ \t\r\n]*+(?:"
    rb"(?P<word>=\?[^?\s]++\?[BbQq]\?[^?\s]*+\?=|[^\s()<>@,;:\\\"\[\]]++)"
    rb'|"(?P<quoted>(?:[^"\\]|\\.)*+)"?'
    rb"|(?P<literal>\[[^\]\s,;<>]*+\]?)"
    rb"|(?P<special>[()<>@,;:\\\]])"
    rb")",
    re.DOTALL,
)
# The two common forms of an entry, whole; they only save time.
_ATOM = rb"[^\s()<>@,;:\\\"\[\]]++"
_NAMED = re.compile(
    rb"[ \t\r\n]*+(?:\"([^\"\\]*+)\"|(" + _ATOM + rb"(?:[ \t]++" + _ATOM + rb")*+))?[ \t]*+"
    rb"<(" + _ATOM + rb")@(" + _ATOM + rb")>[ \t]*+(?:,|$)"
)
_BARE = re.compile(rb"[ \t\r\n]*+(" + _ATOM + rb")@(" + _ATOM + rb")[ \t]*+(?:,|$)")
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_COMMENT_MARK = re.compile(rb"[()\\]")


class Address(NamedTuple):
    """One entry of a list, as ENVELOPE has it (RFC 9051 §7.5.2).

    `name`: the display name without its quotes, RFC 2047 words as they are; None if there is none.
    `route`: the source route (`@a,@b`). `mailbox`: the local part without its quotes. `host`: the domain; b"" if
    there is none. `host` None marks a group: its start has the group's name as `mailbox`, its end has `mailbox` None.
    """

    name: bytes | None
    route: bytes | None
    mailbox: bytes | None
    host: bytes | None


GROUP_END = Address(None, None, None, None)


def addresses(value: bytes) -> list[Address]:
    """The entries of an unfolded address list, in order."""
    if not value:
        return []
    # ENVELOPE and the summary ask for the same fields of a message, one after the other.
    return list(_kept(value)) if len(value) <= _KEPT_VALUE else _Parser(value[:MAX_LIST]).run()


@lru_cache(_KEPT)
def _kept(value: bytes) -> list[Address]:
    found: list[Address] = []
    return found if _take_common(value, 0, found) == len(value) else _Parser(value).run()


def _take_common(value: bytes, position: int, found: list[Address]) -> int:
    """Takes entries of the two common forms as long as they follow one another; the position behind them."""
    while True:
        if match := _NAMED.match(value, position):
            quoted, words, mailbox, host = match.groups()
            name = quoted if quoted is not None else b" ".join((words or b"").split())
            found.append(Address(name or None, None, mailbox, host))
        elif match := _BARE.match(value, position):
            found.append(Address(None, None, match[1], match[2]))
        else:
            return position
        position = match.end()


class _Parser:
    """Collects the words of one entry until a separator ends it."""

    def __init__(self, value: bytes) -> None:
        self.value = value
        self.found: list[Address] = []
        self.in_group = False
        self._clear()

    def _clear(self) -> None:
        self.words: list[bytes] = []  # of the address, or of what may turn out to be the display name
        self.at = -1  # where in `words` the last @ is
        self.phrase: list[bytes] | None = None  # the words before "<"
        self.after: list[bytes] | None = None  # the words behind ">"
        self.route: bytes | None = None
        self.comment: bytes | None = None

    def run(self, shortcuts: bool = True) -> list[Address]:
        """`shortcuts` False: token by token, which gives the same."""
        position = _take_common(self.value, 0, self.found) if shortcuts else 0
        while match := _TOKEN.match(self.value, position):
            position = match.end()
            kind = match.lastgroup
            if kind == "special":
                position = self._special(match["special"], position)
                if shortcuts and match["special"] == b"," and not self.words and self.phrase is None:
                    position = _take_common(self.value, position, self.found)
            elif kind == "quoted":
                self._word(_QUOTED_PAIR.sub(rb"\1", match["quoted"]))
            else:
                self._word(match["word"] or match["literal"])
        self._end_entry()
        self._end_group()
        return self.found

    def _word(self, word: bytes) -> None:
        (self.words if self.after is None else self.after).append(word)

    def _special(self, special: bytes, position: int) -> int:
        """Takes one special; the position behind it."""
        if special == b"(":
            return self._comment(position)
        if special == b"@":
            self._at_sign()
        elif special == b"<":
            self._open()
        elif special == b">" and self.phrase is not None and self.after is None:
            self.after = []
        elif special == b":":
            self._colon()
        elif special == b",":
            self._comma()
        elif special == b";":  # ends a group; some write it between addresses
            self._end_entry()
            self._end_group()
        return position

    def _at_sign(self) -> None:
        if self.after is None:
            self.at = len(self.words)
            self.words.append(b"@")

    def _open(self) -> None:
        if self.after is not None:  # the comma was forgotten
            words = self.after
            self._end_entry()
            self.phrase = words
        elif self.phrase is None:
            self.phrase, self.words, self.at = self.words, [], -1

    def _colon(self) -> None:
        if self.phrase is None:
            name = _joined(self.words)
            self._end_group()
            self.found.append(Address(None, None, name, None))
            self.in_group = True
            self._clear()
        elif self.after is None:  # RFC 5322 §4.4 obs-route: "<@a,@b:c@d>"
            self.route = b"".join(self.words) if self.words[:1] == [b"@"] else None
            self.words, self.at = [], -1

    def _comma(self) -> None:
        if self.phrase is not None and self.after is None and self.words[:1] == [b"@"]:
            self.words.append(b",")
        else:
            self._end_entry()

    def _comment(self, start: int) -> int:
        """Skips a comment, which may hold comments; its text may be the name: "user@host (Name)" (RFC 5322 §3.4)."""
        depth = 1
        position = start
        while depth and (match := _COMMENT_MARK.search(self.value, position)):
            position = match.end()
            if match[0] == b"\\":
                position += 1
            else:
                depth += 1 if match[0] == b"(" else -1
        end = position - 1 if not depth else len(self.value)
        self.comment = _QUOTED_PAIR.sub(rb"\1", self.value[start:end]).strip()
        return position if not depth else len(self.value)

    def _end_entry(self) -> None:
        if self.words or self.phrase is not None:
            words, name = self.words, _phrase(self.phrase or [])
            if self.phrase is None and (self.at > 1 or self.at < 0):  # "A Name user@host", "Just Words"
                first = self._local_part()
                words, name = words[first:], _phrase(words[:first])
            at = self.at - (len(self.words) - len(words))
            mailbox = _joined(words[:at] if self.at >= 0 else words)
            host = _joined(words[at + 1 :]) if self.at >= 0 else b""
            self.found.append(Address(name or self.comment or None, self.route, mailbox, host))
        self._clear()

    def _local_part(self) -> int:
        """Where in the words of an address without <> its local part starts."""
        if self.at < 0:
            return len(self.words) if len(self.words) > 1 else 0
        first = self.at - 1
        while first > 0 and _touch(self.words[first - 1], self.words[first]):
            first -= 1
        return first

    def _end_group(self) -> None:
        if self.in_group:
            self.found.append(GROUP_END)
        self.in_group = False


def _phrase(words: list[bytes]) -> bytes:
    return b" ".join(words).replace(b" @ ", b"@")  # "a@b <a@b>" without quotes is common


def _touch(left: bytes, right: bytes) -> bool:
    return left.endswith(b".") or right.startswith(b".") or b"@" in (left, right)


def _joined(words: list[bytes]) -> bytes:
    """Words of an address as one: blanks around dots and @ mean nothing (RFC 5322 §4.4 obs-local-part, obs-domain)."""
    pieces: list[bytes] = []
    for word in words:
        if pieces and not _touch(pieces[-1], word):
            pieces.append(b" ")
        pieces.append(word)
    return b"".join(pieces)
