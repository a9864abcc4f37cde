"""The loop: uvloop where it is there, plain asyncio by choice."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import asyncio
from duckmail.runtime.loop import run

async def main():
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]

print(run(main()))
"""


@pytest.mark.parametrize(("chosen", "wanted"), [("asyncio", "asyncio"), ("", "uvloop")])
def test_loop_is_chosen_by_the_environment(chosen: str, wanted: str) -> None:
    pytest.importorskip("uvloop")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "DUCKMAIL_LOOP": chosen, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert done.stdout.decode().strip() == wanted


def test_without_uvloop_it_is_asyncio() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.modules['uvloop'] = None\n" + SCRIPT],
        env={**os.environ, "DUCKMAIL_LOOP": "", "PYTHONPATH": os.getcwd()},
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert done.stdout.decode().strip() == "asyncio"
