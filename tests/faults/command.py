"""The command line of the long runs: what they are told, what they print, and exit status 1 for a broken promise."""

import argparse
import json
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Protocol

from duckmail.runtime import loop


class Result(Protocol):
    """Of a run. `violation`: the promise that was broken, "" for none."""

    violation: str

    def figures(self) -> dict[str, object]: ...


def parser(about: str | None) -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=about)
    found.add_argument("--seed", type=int, default=1)
    found.add_argument("--count", type=int, default=20, help="kills of duckmail")
    found.add_argument("--json", type=Path, default=None, help="write the figures here")
    return found


def server_parser(about: str | None) -> argparse.ArgumentParser:
    """As `parser`, of a run that chooses its processes and databases."""
    found = parser(about)
    found.add_argument("--mongod-count", type=int, default=None, help="kills of mongod (default: a tenth of --count)")
    found.add_argument("--processes", type=int, default=1, help="duckmail processes on one database")
    found.add_argument("--no-redis", action="store_true")
    return found


def mongod_count(args: argparse.Namespace) -> int:
    """How often mongod is killed. `args`: of `server_parser`."""
    given: int | None = args.mongod_count
    return int(args.count) // 10 if given is None else given


def carry_out(run: Callable[[Path | None], Coroutine[None, None, Result]], file: Path | None) -> int:
    """The exit status. `run`: is told the folder for logs. `file`: for the figures."""
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    result = loop.run(run(file.parent if file is not None else None))
    text = json.dumps(result.figures(), indent=2)
    if file is not None:
        file.write_text(text + "\n")
    print(text, flush=True)
    if result.violation:
        print(f"BROKEN: {result.violation}", file=sys.stderr)
        return 1
    return 0
