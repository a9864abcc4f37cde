"""Kills a server that is an MX while others deliver to it, then compares: `python -m tests.faults.mx_run --seed 1`.

Exit status 1 when a promise was broken; the seed and the story are printed.
"""

import sys

from tests.faults.command import carry_out, parser
from tests.faults.mx_campaign import Plan, run


def main() -> int:
    args, _ = parser(__doc__).parse_known_args()  # what the other runs are told beside
    return carry_out(lambda logs: run(Plan(args.seed, args.count), logs), args.json)


if __name__ == "__main__":
    sys.exit(main())
