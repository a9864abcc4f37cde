"""Kills processes while mail goes out, then compares: `python -m tests.faults.queue_run --seed 1 --count 100`.

Exit status 1 when a promise was broken; the seed and the story are printed.
"""

import argparse
import json
import sys
from pathlib import Path

from duckmail.runtime import loop
from tests.faults.queue_campaign import Plan, run


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=20, help="kills of duckmail")
    parser.add_argument("--mongod-count", type=int, default=None, help="kills of mongod (default: a tenth of --count)")
    parser.add_argument("--processes", type=int, default=1, help="duckmail processes on one database")
    parser.add_argument("--no-redis", action="store_true")
    parser.add_argument("--json", type=Path, default=None, help="write the figures here")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    mongod_count = args.count // 10 if args.mongod_count is None else args.mongod_count
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
    plan = Plan(args.seed, args.count, mongod_count, args.processes, not args.no_redis)
    result = loop.run(run(plan, args.json.parent if args.json else None))
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
