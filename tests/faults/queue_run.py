"""Kills processes while mail goes out, then compares: `python -m tests.faults.queue_run --seed 1 --count 100`.

Exit status 1 when a promise was broken; the seed and the story are printed.
"""

import sys

from tests.faults.command import carry_out, mongod_count, server_parser
from tests.faults.queue_campaign import Plan, run


def main() -> int:
    args = server_parser(__doc__).parse_args()
    plan = Plan(args.seed, args.count, mongod_count(args), args.processes, not args.no_redis)
    return carry_out(lambda logs: run(plan, logs), args.json)


if __name__ == "__main__":
    sys.exit(main())
