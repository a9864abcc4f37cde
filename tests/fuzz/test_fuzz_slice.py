"""A short slice of every fuzz target, and of the driver itself."""

from pathlib import Path

import pytest

from tests.fuzz import run
from tests.fuzz.mutate import WORDS


@pytest.mark.parametrize("name", run.names())
def test_target(name: str, tmp_path: Path) -> None:
    result = run.run(run.load(name), seed=1, count=300, seconds=0, save=tmp_path)
    assert result.failures == []


def _target(data: bytes) -> None:
    if b"\0" in data:
        raise ValueError("zero")
    if b"(" in data:
        raise KeyError("bracket")


def test_driver_finds_each_failure_once_and_keeps_its_input(tmp_path: Path) -> None:
    target = run.Target("own", _target, [b"abc", b"def"], WORDS, [])
    result = run.run(target, seed=1, count=3000, seconds=0, save=tmp_path)
    assert sorted(failure.error for failure in result.failures) == ["KeyError: 'bracket'", "ValueError: zero"]
    for failure in result.failures:
        with pytest.raises((ValueError, KeyError)):
            _target(Path(failure.input).read_bytes())
    assert result.iterations == 3002
    again = run.run(target, seed=1, count=3000, seconds=0, save=tmp_path)
    assert [failure.iteration for failure in again.failures] == [failure.iteration for failure in result.failures]
    other = run.run(target, seed=2, count=3000, seconds=0, save=tmp_path)
    assert [failure.input for failure in other.failures] != [failure.input for failure in result.failures]


def test_driver_ends_an_input_that_takes_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(_: bytes) -> None:
        while True:
            pass

    monkeypatch.setattr(run, "SLOWEST", 0.05)
    result = run.run(run.Target("endless", endless, [b"x"], WORDS, []), seed=1, count=1, seconds=0, save=tmp_path)
    assert [failure.error for failure in result.failures] == ["TooSlow: over 0.05 s"]
