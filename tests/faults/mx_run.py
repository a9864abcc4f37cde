"""Kills a server that is an MX while others deliver to it, then compares: `python -m tests.faults.mx_run --seed 1`.

Exit status 1 when a promise was broken; the seed and the story are printed.
"""

import argparse
import json
import sys
from pathlib import Path

from duckmail.runtime import loop
from tests.faults.mx_campaign import Plan, run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=20, help="kills of duckmail")
    parser.add_argument("--json", type=Path, default=None, help="write the figures here")
    args, _ = parser.parse_known_args()  # what the other runs are told beside
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
    result = loop.run(run(Plan(args.seed, args.count), args.json.parent if args.json else None))
    text = json.dumps(result.figures(), indent=2)
    if args.json is not None:
        args.json.write_text(text + "\n")
    print(text, flush=True)
    if result.violation:
        print(f"BROKEN: {result.violation}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
