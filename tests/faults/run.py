"""Kills processes while clients work, and compares: `python -m tests.faults.run --seed 1 --count 200 --json FILE`.

Exit status 1 when a promise was broken; the seed and the story are printed.
"""

import sys

from tests.faults.campaign import Plan, run
from tests.faults.command import carry_out, mongod_count, server_parser


def main() -> int:
    args = server_parser(__doc__).parse_args()
    plan = Plan(args.seed, args.count, mongod_count(args), args.processes, not args.no_redis)
    return carry_out(lambda logs: run(plan, logs), args.json)


if __name__ == "__main__":
    sys.exit(main())
