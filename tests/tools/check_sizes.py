"""Reports product files over 400 lines and functions over 60: is a second reason to change in there?

A report, not a verdict: it fails only at one and a half times that, where no reading finds an excuse.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.tools.common import ROOT, product_files, report

FILE_LINES, FUNCTION_LINES = 400, 60
FAIL = 1.5


def functions(source: str) -> Iterator[tuple[str, int, int]]:
    """(name, first line, lines without the docstring) of every function."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if ast.get_docstring(node) is not None:
                lines -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
            yield node.name, node.lineno, lines


def oversized(file: Path) -> Iterator[tuple[float, str]]:
    """(how many times the limit, what) of everything too large in `file`."""
    source = file.read_text("utf-8")
    name = file.relative_to(ROOT)
    length = source.count("\n")
    if length > FILE_LINES:
        yield length / FILE_LINES, f"{name}: {length} lines (aim: {FILE_LINES})"
    for function, line, lines in functions(source):
        if lines > FUNCTION_LINES:
            yield lines / FUNCTION_LINES, f"{name}:{line}: {function} has {lines} lines (aim: {FUNCTION_LINES})"


def check() -> tuple[list[str], str]:
    files = list(product_files())
    found = [large for file in files for large in oversized(file)]
    for times, text in sorted(found, reverse=True):
        if times <= FAIL:
            print(text)
    return [text for times, text in found if times > FAIL], f"{len(files)} files, {len(found)} places to look at"


if __name__ == "__main__":
    sys.exit(report("sizes", *check()))
