"""Whether `config/duckmail.toml` is what `duckmail config generate` writes."""

import sys

from duckmail.config.document import generate
from tests.tools.common import ROOT, report

FILE = "config/duckmail.toml"


def check() -> tuple[list[str], str]:
    file = ROOT / FILE
    current = file.exists() and file.read_text("utf-8") == generate()
    stale = f"{FILE} is not current: run `.venv/bin/duckmail config generate > {FILE}`"
    return [] if current else [stale], "config/duckmail.toml is current"


if __name__ == "__main__":
    sys.exit(report("generated config", *check()))
