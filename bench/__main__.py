"""Measures duckmail beside its peers: `python -m bench --seed 1 --count 3 --json FILE`."""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench.report import table, targets
from bench.runner import Bench, Measured
from bench.servers.base import Server
from bench.servers.dovecot import Dovecot, DovecotSdbox
from bench.servers.duckmail import Duckmail
from bench.servers.postfix import Postfix
from bench.servers.wildduck import WildDuck
from bench.work import WORKS
from bench.work.base import QUICK, Sizes, Work
from duckmail.runtime import loop

DEFAULT = ("duckmail", "dovecot", "dovecot-sdbox", "postfix", "wildduck")
SERVERS = (*DEFAULT, "duckmail-2")


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="decides the mails; equal seeds give equal mails")
    parser.add_argument("--count", type=int, default=3, help="runs of each work item; the best counts (default: 3)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it works, measures nothing")
    parser.add_argument(
        "--servers",
        default=",".join(DEFAULT),
        help=f"of {','.join(SERVERS)}; duckmail-2 is `--workers 2` (default: all but that, where installed)",
    )
    parser.add_argument("--only", default="", metavar="NAMES", help=f"of {','.join(work.name for work in WORKS)}")
    parser.add_argument("--compare", type=Path, action="append", default=[], help="one more duckmail, of this checkout")
    parser.add_argument("--wildduck", type=Path, default=None, help="the folder of an installed wildduck package")
    parser.add_argument(
        "--folder", type=Path, default=None, help="where data goes: a disk (default: the temporary one)"
    )
    parser.add_argument("--json", type=Path, default=None, help="write all figures here")
    args = parser.parse_args(argv)
    args.servers = _listed(parser, "--servers", args.servers, SERVERS)
    names = _listed(parser, "--only", args.only, [work.name for work in WORKS]) if args.only else None
    args.works = [work for work in WORKS if names is None or work.name in names]
    return args


def _listed(parser: argparse.ArgumentParser, option: str, text: str, known: "tuple[str, ...] | list[str]") -> list[str]:
    names = [name for name in text.split(",") if name]
    if unknown := [name for name in names if name not in known]:
        parser.error(f"{option}: unknown: {', '.join(unknown)}")
    return names


def makers(args: argparse.Namespace) -> list[tuple[str, Callable[[Path], Server]]]:
    known: dict[str, Callable[[Path], Server]] = {
        "duckmail": Duckmail,
        "duckmail-2": partial(Duckmail, workers=2),
        "dovecot": Dovecot,
        "dovecot-sdbox": DovecotSdbox,
        "postfix": Postfix,
        "wildduck": partial(WildDuck, package=args.wildduck),
    }
    compared = [(f"duckmail:{path.name}", partial(Duckmail, source=path)) for path in args.compare]
    return [*((name, known[name]) for name in args.servers), *compared]


async def bench(args: argparse.Namespace) -> tuple[Bench, list[Measured]]:
    one = Bench(
        QUICK if args.quick else Sizes(), args.seed, args.count, args.folder, lambda text: print(text, flush=True)
    )
    works: list[type[Work]] = args.works
    return one, await one.run(makers(args), works)


def figures(args: argparse.Namespace, one: Bench, results: list[Measured]) -> dict[str, Any]:
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seed": args.seed,
        "count": args.count,
        "quick": args.quick,
        "machine": {"processors": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()},
        "servers": one.versions,
        "not installed": one.missing,
        "results": [result.figures() for result in results],
        "targets": [
            {"text": target.text, "found": target.found, "met": target.met} for target in targets(results, "duckmail")
        ],
    }


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    one, results = loop.run(bench(args))
    print("\n" + table(results) + "\n")
    for target in targets(results, "duckmail"):
        print(target)
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(figures(args, one, results), indent=2) + "\n")
    return 1 if any(result.error for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
