"""What of a text goes into the index for substrings: its runs of one to three characters, as places in a row of bits.

A text that holds a string holds all of the string's runs, so a text that lacks one of them need not be looked through.
The other way round nothing is said: places are shared, and runs may be there apart.
"""

from collections.abc import Iterable
from zlib import crc32

BITS = 16_384
"""Places for runs; a usual message fills a few hundred to a few thousand."""
RUN = 3
MAX_TEXT = 256 * 1024
"""Characters; a longer text is looked through each time."""
MAX_RUNS = BITS // 2
HEADER, BODY = "h", "b"
"""Marks of where short runs are, and words."""
_SPREAD = 0x9E3779B1  # Knuth's multiplier: mixes the bits that the first place leaves
MAX_ASKED = 12
"""Runs of a string that are asked for; more tell little more."""


def places(header: Iterable[str], body: str) -> set[int] | None:
    """Of all runs in `header`, each a text of its own, and in `body`. None: too many to tell texts apart by them. CPU:
    0.3 us a character."""
    runs: set[str] = set()
    found: set[int] = set()
    length = 0
    for mark, texts in ((HEADER, header), (BODY, (body,))):
        mine: set[str] = set()
        short: set[str] = set()
        for text in texts:
            length += len(text)
            if length > MAX_TEXT:
                return None
            mine.update([text[at : at + RUN] for at in range(len(text) - RUN + 1)])
            short.update(text[-RUN + 1 :], [text[-RUN + 1 :]] if len(text) >= RUN - 1 else ())
        short.update([run[0] for run in mine], [run[:2] for run in mine])  # the others are in the ends of the texts
        found |= _short_places(mark, short)
        runs |= mine
    return found | _places(runs) if len(runs) <= MAX_RUNS else None


def asked(needle: str, marks: str) -> tuple[tuple[int, ...], ...]:
    """Places of a string to look for: all those of one of these tuples. Of at most `MAX_ASKED` runs, from all over it;
    none for the empty one. `marks`: where it is looked for."""
    count = len(needle) - RUN + 1
    if count > 1:
        step = max(1, count // MAX_ASKED)
        return (tuple(sorted(_places({needle[at : at + RUN] for at in range(0, count, step)})))[:MAX_ASKED],)
    if not needle:
        return ()
    whole = _places({needle}) if count == 1 else set()
    short = {needle[:-1], needle[1:]} if count == 1 else {needle}
    return tuple(tuple(sorted(whole | _short_places(mark, short))) for mark in marks)


def _places(runs: Iterable[str]) -> set[int]:
    return {crc32(run.encode("utf-8", "surrogatepass")) % BITS for run in runs}


def _short_places(mark: str, runs: Iterable[str]) -> set[int]:
    """Three for each: one would be shared too often where nothing else is asked for. Those of header and body are told
    apart: what looks random in a header has many of them."""
    found: set[int] = set()
    for run in runs:
        check = crc32((mark + run).encode("utf-8", "surrogatepass"))
        spread = check * _SPREAD & 0xFFFFFFFF
        found.update((check % BITS, (spread >> 18) % BITS, (spread >> 4) % BITS))
    return found
