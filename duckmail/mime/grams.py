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
_SPREAD = 0x9E3779B1  # Knuth's multiplier: mixes the bits that the first place leaves
MAX_ASKED = 8
"""Runs of a string that are asked for; more tell little more."""


def places(texts: Iterable[str]) -> set[int] | None:
    """Of all runs in `texts`, each a text of its own. None: too many to tell texts apart by them. CPU: 0.3 us a
    character."""
    runs: set[str] = set()
    short: set[str] = set()
    length = 0
    for text in texts:
        length += len(text)
        if length > MAX_TEXT:
            return None
        runs.update([text[at : at + RUN] for at in range(len(text) - RUN + 1)])
        short.update(text[-RUN + 1 :], [text[-RUN + 1 :]] if len(text) >= RUN - 1 else ())
    if len(runs) > MAX_RUNS:
        return None
    short.update([run[0] for run in runs], [run[:2] for run in runs])  # the others are in the ends of the texts
    return _places(runs) | _short_places(short)


def asked(needle: str) -> tuple[int, ...]:
    """Places of a string to look for, of at most `MAX_ASKED` runs, from all over it."""
    count = len(needle) - RUN + 1
    if count <= 0:
        return tuple(sorted(_short_places({needle}))) if needle else ()
    if count == 1:
        return tuple(sorted(_places({needle}) | _short_places({needle[:-1], needle[1:]})))
    step = max(1, count // MAX_ASKED)
    return tuple(sorted(_places({needle[at : at + RUN] for at in range(0, count, step)})))[:MAX_ASKED]


def _places(runs: Iterable[str]) -> set[int]:
    return {crc32(run.encode("utf-8", "surrogatepass")) % BITS for run in runs}


def _short_places(runs: Iterable[str]) -> set[int]:
    """Three for each: one would be shared too often where nothing else is asked for."""
    found: set[int] = set()
    for run in runs:
        check = crc32(run.encode("utf-8", "surrogatepass"))
        spread = check * _SPREAD & 0xFFFFFFFF
        found.update((check % BITS, (spread >> 18) % BITS, (spread >> 4) % BITS))
    return found
