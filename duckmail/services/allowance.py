"""How many of a kind are written down one by one; what is beyond that is counted. Bounded in memory, whoever comes."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

OTHERS = ""  # stands for all sources that there was no room for


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What was only counted of one source. `seconds`: within which."""

    source: str
    reasons: Mapping[str, int]
    seconds: float


class Allowance:
    """`each`: of one source, `most`: of all together, within `seconds`. `clock`: monotonic, in seconds."""

    def __init__(self, each: int, most: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._each = each
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._begun = 0.0
        self._taken: Counter[str] = Counter()
        self._left: dict[str, Counter[str]] = {}

    def take(self, source: str, reason: str) -> bool:
        """Whether this one is written down; else it is counted. `source`: "" for one without a limit of its own."""
        if not self._taken and not self._left:
            self._begun = self._clock()
        if self._taken.total() < self._most and (not source or self._taken[source] < self._each):
            self._taken[source] += 1
            return True
        # Only who was written down is counted by name: so many there are at most.
        self._left.setdefault(source if source in self._taken else OTHERS, Counter())[reason] += 1
        return False

    def ended(self, *, early: bool = False) -> list[LeftOut]:
        """What was only counted, once its time is over (or now, if `early`); then it begins again."""
        seconds = self._clock() - self._begun
        if not early and seconds < self._seconds:
            return []
        left, self._left = self._left, {}
        self._taken.clear()
        return [LeftOut(source, dict(reasons), seconds) for source, reasons in left.items()]
