"""The benchmark and the soak run, in small: what they measure is another matter."""

import json
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench import soak
from bench.content import Mails
from bench.runner import percentile


def test_bench_runs_and_writes_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "figures" / "bench.json"
    works = ["lmtp-4k-many", "append-4k", "push", "open-warm", "fetch-structure", "search-text", "store-flags", "copy"]
    arguments = ["--quick", "--count", "1", "--servers", "duckmail", "--only", ",".join(works)]
    assert bench.main([*arguments, "--json", str(file)]) == 0
    figures = json.loads(file.read_text())
    assert [result["work"] for result in figures["results"]] == works
    assert all(result["rate"] > 0 and not result["error"] for result in figures["results"])
    assert "LMTP 4 KB, many mailboxes" in capsys.readouterr().out


def test_soak_finds_nothing(tmp_path: Path) -> None:
    file = tmp_path / "soak.json"
    assert soak.main(["--seed", "7", "--count", "120", "--json", str(file)]) == 0
    figures = json.loads(file.read_text())
    assert figures["broken"] == []
    assert "no differences" in figures["fsck"]
    assert figures["operations"]["probe"]["count"] > 0


def test_soak_tells_what_is_broken() -> None:
    grown = [80 << 20] * 40 + [160 << 20] * 20
    assert soak.Record(memory=grown).broken == ["memory grew by 80 MiB from the middle third to the last"]
    assert soak.Record(memory=grown[:20]).broken == []
    assert soak.Record(fsck="1 differences", fsck_status=1).broken == ["fsck: 1 differences"]
    assert soak.Record(errors=["store: refused"]).broken == ["1 operations failed, the first: store: refused"]


@pytest.mark.parametrize("size", [2600, 4096, 20_000], ids=str)
def test_mails_have_their_size_and_clean_line_ends(size: int) -> None:
    mails, again = Mails(1), Mails(1)
    for _ in range(30):
        mail = mails.small(size)
        assert len(mail) == size
        assert mail == again.small(size)
        assert mail.count(b"\r\n") == mail.count(b"\n") == mail.count(b"\r")
        assert b"\r\n." not in mail  # nothing to stuff
        assert mail.endswith(b"\r\n")


def test_large_mails_are_nearly_as_large_as_asked_for() -> None:
    assert 99_800 <= len(Mails(1).large(100_000)) <= 100_000


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        pytest.param([], 0.5, 0.0, id="nothing"),
        pytest.param([3.0], 0.99, 3.0, id="one"),
        pytest.param([4.0, 1.0, 3.0, 2.0], 0.5, 3.0, id="median-of-four"),
        pytest.param([1.0] * 99 + [9.0], 0.99, 9.0, id="the-worst"),
    ],
)
def test_percentile(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected
