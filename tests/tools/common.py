"""What the checks share: which files are the product's, and how a check reports."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("duckmail", "protocols", "storage", "api")


def product_files() -> Iterator[Path]:
    """Every Python file of the product, in order."""
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def module_name(file: Path) -> str:
    """Of a product file: `duckmail/cli/__init__.py` is `duckmail.cli`."""
    parts = list(file.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def report(name: str, problems: Sequence[str], summary: str) -> int:
    """Prints what is wrong, or the summary; gives the exit status."""
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{name}: {len(problems)} problems" if problems else f"{name}: {summary}")
    return 1 if problems else 0
