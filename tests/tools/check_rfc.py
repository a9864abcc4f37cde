"""Compares `protocols/rfc.toml` with the RFCs that the code cites.

Every RFC cited in the product is listed; every listed one is cited; a citation is written `RFC 9051 §6.4.5`.
"""

import re
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

from tests.tools.common import ROOT, product_files, report

INDEX = "protocols/rfc.toml"
SUPPORT = ("whole", "part", "cited")

CITED = re.compile(r"\bRFC (\d{3,5})\b")
# `RFC822`, `RFC822.SIZE` are names in IMAP, `message/rfc822` is a media type.
BADLY_WRITTEN = re.compile(
    r"\b(?:RFC-?(?!822\b|822\.)\d{3,5}|rfc ?(?!822\b)\d{3,5}|RFC \d+,? (?:[Ss]ection|sec\.?) ?[\d.]+)"
)


def problems_of_index(index: dict[str, dict[str, str]]) -> list[str]:
    found = []
    for number, entry in index.items():
        if unknown := set(entry) - {"title", "support", "notes"}:
            found.append(f"{INDEX}: [{number}] has unknown keys {sorted(unknown)}")
        if not entry.get("title"):
            found.append(f"{INDEX}: [{number}] has no title")
        if entry.get("support") not in SUPPORT:
            found.append(f"{INDEX}: [{number}] support must be one of {', '.join(SUPPORT)}")
        if entry.get("support") == "part" and not entry.get("notes"):
            found.append(f"{INDEX}: [{number}] is supported in part: notes must say which")
    return found


def citations(text: str) -> tuple[dict[str, int], list[tuple[int, str]]]:
    """Number -> first line that cites it, and (line, text) of what is badly written."""
    cited: dict[str, int] = {}
    bad = []
    for number, line in enumerate(text.splitlines(), 1):
        for match in CITED.finditer(line):
            cited.setdefault(match[1], number)
        bad += [(number, match[0]) for match in BADLY_WRITTEN.finditer(line)]
    return cited, bad


def check(root: Path = ROOT) -> tuple[list[str], str]:
    """What is wrong, and a summary."""
    index = tomllib.loads((root / INDEX).read_text("utf-8"))
    problems = problems_of_index(index)
    places: defaultdict[str, list[str]] = defaultdict(list)
    for file in product_files():
        cited, bad = citations(file.read_text("utf-8"))
        name = file.relative_to(root)
        problems += [f'{name}:{line}: "{text}" is written "RFC 9051 §6.4.5"' for line, text in bad]
        for number, line in cited.items():
            places[number].append(f"{name}:{line}")
    problems += [
        f"{where[0]}: RFC {number} is not in {INDEX}" for number, where in sorted(places.items()) if number not in index
    ]
    problems += [f"{INDEX}: RFC {number} is cited nowhere in the code" for number in index if number not in places]
    return problems, f"{len(index)} RFCs, cited in {sum(map(len, places.values()))} files"


if __name__ == "__main__":
    sys.exit(report("RFC index", *check()))
