"""Writes what `pip install --require-hashes -r` needs for one wheel: the wheel, and all it needs, from the lock.

    python -m tests.tools.lock_wheel WHEEL EXTRA,EXTRA > FILE

pip has to be called in the wheel's folder. The lock holds what developers need as well; a server should have nothing of
that.
"""

import hashlib
import re
import sys
import zipfile
from collections.abc import Iterator, Sequence
from email import message_from_bytes
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.tools.common import ROOT

LOCK = ROOT / "requirements.lock"
_ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==.*(?:\n[ \t]+.*)*", re.MULTILINE)


def entries(lock: str) -> dict[str, str]:
    """Each pinned package with its lines."""
    return {canonicalize_name(found[1]): found[0] for found in _ENTRY.finditer(lock)}


def wheel_requirements(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_bytes(archive.read(name)).get_all("Requires-Dist") or []


def wanted(requirements: Sequence[str], extras: Sequence[str]) -> Iterator[Requirement]:
    """Those that hold with the extras. Conditions on the machine are left to the lines of the lock."""
    for text in requirements:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or "extra" not in str(marker) or any(marker.evaluate({"extra": extra}) for extra in extras):
            yield requirement


def closure(requirements: Sequence[str], extras: Sequence[str], pinned: dict[str, str]) -> list[str]:
    """Names of all packages that are needed, in order. Raises LookupError: the lock lacks what this machine needs."""
    found: set[tuple[str, tuple[str, ...]]] = set()
    waiting = list(wanted(requirements, extras))
    while waiting:
        one = waiting.pop()
        name, its_extras = canonicalize_name(one.name), tuple(sorted(one.extras))
        if (name, its_extras) in found:
            continue
        if name not in pinned:
            if one.marker is None or one.marker.evaluate({"extra": ""}):
                raise LookupError(f"{name} is not in {LOCK.name}")
            continue
        found.add((name, its_extras))
        try:
            waiting += wanted(metadata.requires(name) or [], its_extras)
        except metadata.PackageNotFoundError:  # for other machines than this one
            continue
    return sorted({name for name, _ in found})


def write(wheel: Path, extras: Sequence[str]) -> str:
    pinned = entries(LOCK.read_text("utf-8"))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    chosen = f"[{','.join(extras)}]" if extras else ""
    own = f"./{wheel.name}{chosen} \\\n    --hash=sha256:{digest}"
    return "\n".join([own, *(pinned[name] for name in closure(wheel_requirements(wheel), extras, pinned)), ""])


if __name__ == "__main__":
    sys.stdout.write(write(Path(sys.argv[1]), sys.argv[2].split(",")))
