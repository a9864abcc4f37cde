"""Mailbox files: any cut gives the same octets, and what was written can be read back."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from duckmail.mime import mbox
from duckmail.mime.mbox import Quoting, first_lines
from tests.support.letterbox import read_mbox

MESSAGES = [
    pytest.param(b"A: b\r\n\r\nFrom here\r\n>From there\r\nfrom x\r\n From y\r\nxFrom z\r\n", id="from-lines"),
    pytest.param(b"From a\r\n\r\nno end", id="at-the-start-and-no-end"),
    pytest.param(b"A: b\n\nlf only\nFrom x\n", id="lf"),
    pytest.param(b"A: b\r\n\r\ncr\rin a line\r\n\r\n", id="bare-cr"),
    pytest.param(b"", id="empty"),
]


def written(raw: bytes, size: int) -> bytes:
    quoting = Quoting()
    pieces = [quoting.feed(raw[at : at + size]) for at in range(0, len(raw), size)]
    return b"".join([*pieces, quoting.finish()])


@pytest.mark.parametrize("raw", MESSAGES)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_any_cut_gives_what_a_whole_one_gives(raw: bytes, size: int) -> None:
    plain = raw.replace(b"\r\n", b"\n")
    expected = re.sub(rb"(?m)^(>*From )", rb">\1", plain)
    end = b"\n\n" if plain and not plain.endswith(b"\n") else b"\n"
    assert written(raw, size) == expected + end


def test_a_line_without_an_end_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mbox, "LONGEST_HELD", 100)
    quoting = Quoting()
    out = b"".join(quoting.feed(b"x" * 99 + b"\r") for _ in range(50))
    assert len(out) > 4_800
    assert out + quoting.feed(b"\nFrom x\r\n") + quoting.finish() == b"x" * 99 + (b"\r" + b"x" * 99) * 49 + (
        b"\n>From x\n\n"
    )


def test_another_program_finds_the_messages(tmp_path: Path) -> None:
    raw = [b"Subject: one\r\n\r\nFrom me\r\n", b"Subject: two\r\n\r\nno end"]
    moment = datetime(2026, 11, 2, 10, 0, tzinfo=UTC)
    file = tmp_path / "export.mbox"
    file.write_bytes(b"".join(first_lines(moment, [("X-Export-Mailbox", "Work")]) + written(each, 5) for each in raw))
    found = read_mbox(file)
    assert [(each["subject"], each["x-export-mailbox"]) for each in found] == [("one", "Work"), ("two", "Work")]
    assert found[0].get_from() == "MAILER-DAEMON Mon Nov 02 10:00:00 2026"
