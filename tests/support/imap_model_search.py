"""Random searches for the model of a mailbox, and what their answers must be."""

import random
import re
from collections.abc import Callable, Sequence

from duckmail.model.ranges import Ranges
from protocols.imap.wire.sequence import SequenceSet
from tests.support.imap_model import Box, Follower

RETURNS = ("MIN", "MAX", "COUNT", "ALL")
Key = tuple[str, Callable[[int], bool]]  # as the command takes it; whether it holds for a UID


def key(dice: random.Random, follower: Follower, box: Box, words: Sequence[str], flags: Sequence[str]) -> Key:
    """A key, alone or of up to four."""
    return _Maker(dice, follower, box, words, flags).key(0)


class _Maker:
    def __init__(
        self, dice: random.Random, follower: Follower, box: Box, words: Sequence[str], flags: Sequence[str]
    ) -> None:
        self._dice, self._follower, self._box = dice, follower, box
        self._words, self._flags = words, flags

    def key(self, depth: int) -> Key:
        simple = (
            *(self._flag, self._no_flag, self._subject, self._modseq, self._uids, self._size, self._saved),
            self._numbers,
        )
        kinds = simple if depth > 1 else (*simple, self._not, self._or)
        made = self._dice.choice(kinds)
        return made(depth) if made in (self._not, self._or) else made(0)

    def _flag(self, _: int) -> Key:
        messages, flag = self._box.messages, self._dice.choice(self._flags)
        name = flag[1:].upper() if flag.startswith("\\") else f"KEYWORD {flag}"
        return name, lambda uid: flag in messages[uid].flags

    def _no_flag(self, _: int) -> Key:
        messages, flag = self._box.messages, self._dice.choice(self._flags)
        name = f"UN{flag[1:].upper()}" if flag.startswith("\\") else f"UNKEYWORD {flag}"
        return name, lambda uid: flag not in messages[uid].flags

    def _subject(self, _: int) -> Key:
        messages, word = self._box.messages, self._dice.choice(self._words)
        return f"SUBJECT {word}", lambda uid: messages[uid].subject == word

    def _size(self, _: int) -> Key:
        messages, size = self._box.messages, self._dice.randint(30, 42)
        return f"LARGER {size}", lambda uid: messages[uid].size > size

    def _modseq(self, _: int) -> Key:
        if "CONDSTORE" not in self._follower.enabled:
            return "ALL", lambda _: True
        messages, modseq = self._box.messages, self._dice.randint(1, max(1, self._box.modseq))
        return f"MODSEQ {modseq}", lambda uid: messages[uid].modseq >= modseq

    def _uids(self, _: int) -> Key:
        known = self._follower.uids
        uids = set(self._dice.sample(known, self._dice.randint(0, min(4, len(known)))))
        return (f"UID {Ranges.from_sorted(sorted(uids))}", lambda uid: uid in uids) if uids else ("ALL", lambda _: True)

    def _numbers(self, _: int) -> Key:
        """Message sequence numbers, as the client counts."""
        known = self._follower.uids
        if self._follower.uid_only or not known:
            return "ALL", lambda _: True
        places = sorted(self._dice.sample(range(len(known)), self._dice.randint(1, min(4, len(known)))))
        uids = {known[place] for place in places}
        return str(Ranges.from_sorted([place + 1 for place in places])), lambda uid: uid in uids

    def _saved(self, _: int) -> Key:
        saved = self._follower.saved
        return "$", lambda uid: uid in saved

    def _not(self, depth: int) -> Key:
        text, holds = self.key(depth + 1)
        return f"NOT {text}", lambda uid: not holds(uid)

    def _or(self, depth: int) -> Key:
        (left, first), (right, second) = self.key(depth + 1), self.key(depth + 1)
        return f"OR {left} {right}", lambda uid: first(uid) or second(uid)


def ordering(dice: random.Random, box: Box) -> tuple[str, Callable[[list[int]], list[int]]]:
    """Criteria of SORT, and what they make of ascending UIDs: what is equal stays in that order (RFC 5256 §3)."""
    keys: dict[str, Callable[[int], object]] = {
        "SIZE": lambda uid: box.messages[uid].size,
        "SUBJECT": lambda uid: box.messages[uid].subject,
    }
    chosen = [(name, dice.random() < 0.5) for name in dice.sample(sorted(keys), dice.randint(1, 2))]

    def ordered(uids: list[int]) -> list[int]:
        for name, reverse in reversed(chosen):
            uids = sorted(uids, key=keys[name], reverse=reverse)  # type: ignore[arg-type]
        return uids

    return " ".join(f"REVERSE {name}" if reverse else name for name, reverse in chosen), ordered


def plain(lines: list[str], numbers: Sequence[int], modseqs: Sequence[int]) -> None:
    """The answer to a SEARCH without RETURN. `modseqs`: of the messages found, when MODSEQ was among the keys."""
    (line,) = [line for line in lines if line.startswith(("SEARCH", "ESEARCH"))]
    told = re.search(r"MODSEQ (\d+)", line)
    assert (int(told[1]) if told else 0) == max(modseqs, default=0), (line, modseqs)
    if line.startswith("SEARCH"):
        assert [int(word) for word in re.sub(r"\(MODSEQ \d+\)", "", line).split()[1:]] == list(numbers), line
    else:
        assert _set(line) == list(numbers), (line, numbers)


def returned(line: str, options: Sequence[str], numbers: Sequence[int], modseqs: Sequence[int]) -> None:
    """The ESEARCH of a SEARCH with these RETURN options.

    RFC 4731 §3.1: nothing found, then only COUNT. RFC 7162 §3.1.10: the highest modseq, MIN or MAX alone: of these.
    """
    told = {word: int(value) for word, value in re.findall(r"(MIN|MAX|COUNT|MODSEQ) (\d+)", line)}
    expected = {"COUNT": len(numbers)} if "COUNT" in options else {}
    if numbers:
        expected |= {word: place(numbers) for word, place in (("MIN", min), ("MAX", max)) if word in options}
        if modseqs:
            expected["MODSEQ"] = max(modseqs[place] for place in picked(options, len(numbers)))
    assert told == expected, (line, expected)
    assert _set(line) == (list(numbers) if "ALL" in options else []), (line, numbers)


def picked(options: Sequence[str], count: int) -> list[int]:
    """Places in the result of what MODSEQ and SAVE are about (RFC 5182 §2.1): with MIN or MAX alone, of these."""
    if {"COUNT", "ALL"} & set(options) or not options:
        return list(range(count))
    return sorted({0 if option == "MIN" else count - 1 for option in options}) if count else []


def _set(line: str) -> list[int]:
    found = re.search(r"ALL ([0-9:,]+)", line)
    return list(SequenceSet.parse(found[1].encode()).resolve(0)) if found else []
