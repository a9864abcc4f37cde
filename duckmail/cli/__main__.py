"""`python -P -m duckmail.cli`: the console script, where that is not installed."""

import sys

from duckmail.cli import main

if __name__ == "__main__":
    sys.exit(main())
