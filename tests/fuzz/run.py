"""Runs the fuzz targets: `python -m tests.fuzz.run --seed 1 --count 10000`.

A target is a module `fuzz_<name>.py` beside this file with

    SEEDS: list[bytes]                  good inputs, to begin with
    WORDS: list[bytes]                  optional: what the format is made of
    def target(data: bytes) -> None     raises only when something is wrong

The inputs follow from the seed and the target's name alone. What fails is written to a file; a bug that was mended
leaves its input in `found/<name>/`, and every run, the short one of the test suite too, begins with those.
"""

import argparse
import importlib
import json
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from types import FrameType

from tests.fuzz.mutate import WORDS, mutate

HERE = Path(__file__).parent
SLOWEST = 2.0  # seconds of CPU time one input may take: it is the same on a crowded machine
MOST_FAILURES = 20


@dataclass(frozen=True)
class Target:
    name: str
    run: Callable[[bytes], None]
    seeds: Sequence[bytes]
    words: Sequence[bytes]
    found: Sequence[bytes]


@dataclass
class Failure:
    error: str
    place: str
    input: str
    iteration: int


@dataclass
class Result:
    name: str
    iterations: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    failures: list[Failure] = field(default_factory=list)


class TooSlow(Exception):
    """One input took longer than `SLOWEST`: quadratic, or for ever."""


def names() -> list[str]:
    return sorted(file.stem.removeprefix("fuzz_") for file in HERE.glob("fuzz_*.py"))


def load(name: str) -> Target:
    module = importlib.import_module(f"tests.fuzz.fuzz_{name}")
    found = [file.read_bytes() for file in sorted((HERE / "found" / name).glob("*"))]
    seeds = list(module.SEEDS) or [b""]
    return Target(name, module.target, seeds, [*WORDS, *getattr(module, "WORDS", ())], found)


def inputs(target: Target, seed: int) -> Iterator[bytes]:
    """What was found before, the seeds as they are, then mutations without end."""
    yield from target.found
    yield from target.seeds
    number = 0
    while True:
        yield mutate(random.Random(f"{seed}/{target.name}/{number}"), [*target.seeds, *target.found], target.words)
        number += 1


def run(target: Target, seed: int, count: int, seconds: float, save: Path) -> Result:
    """`count` mutations, or as many as fit into `seconds` when that is not 0."""
    result = Result(target.name)
    places: set[str] = set()
    whole = count + len(target.found) + len(target.seeds)
    begun = time.monotonic()
    with _alarm():
        for data in inputs(target, seed):
            if (time.monotonic() - begun > seconds) if seconds else result.iterations >= whole:
                break
            result.iterations += 1
            before = time.process_time()
            failure = _one(target, data, result.iterations)
            result.slowest = max(result.slowest, time.process_time() - before)
            if failure is not None and failure.place not in places:
                places.add(failure.place)
                failure.input = str(_saved(save, target.name, data))
                result.failures.append(failure)
                if len(result.failures) >= MOST_FAILURES:
                    break
    result.seconds = time.monotonic() - begun
    return result


def _one(target: Target, data: bytes, iteration: int) -> Failure | None:
    signal.setitimer(signal.ITIMER_VIRTUAL, SLOWEST)
    try:
        target.run(data)
    except (Exception, RecursionError) as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"
        return Failure(f"{type(error).__name__}: {error}"[:500], place, "", iteration)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return None


class _alarm:
    """Turns the alarm signal into `TooSlow` while the context is open."""

    def __enter__(self) -> None:
        self._old = signal.signal(signal.SIGVTALRM, self._ring)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGVTALRM, self._old)

    @staticmethod
    def _ring(number: int, frame: FrameType | None) -> None:
        raise TooSlow(f"over {SLOWEST} s")


def _saved(folder: Path, name: str, data: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-{sha256(data).hexdigest()[:12]}"
    file.write_bytes(data)
    return file


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Runs the fuzz targets.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=10_000, help="mutations for each target")
    parser.add_argument("--seconds", type=float, default=0, help="time for each target, instead of --count")
    parser.add_argument("--only", action="append", choices=names(), help="this target (may be repeated)")
    parser.add_argument("--save", type=Path, default=Path("var/fuzz"), help="folder for inputs that fail")
    parser.add_argument("--json", type=Path, help="file for the results")
    args = parser.parse_args(argv)
    results = []
    for name in args.only or names():
        result = run(load(name), args.seed, args.count, args.seconds, args.save)
        results.append(result)
        print(
            f"{name:<20} {result.iterations:>9} inputs {result.seconds:>8.1f} s  slowest {result.slowest * 1000:.0f} ms"
        )
        for failure in result.failures:
            print(f"    {failure.place}: {failure.error}\n    input: {failure.input}")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        written = {"seed": args.seed, "count": args.count, "targets": [asdict(result) for result in results]}
        args.json.write_text(json.dumps(written, indent=2) + "\n")
    return 1 if any(result.failures for result in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
