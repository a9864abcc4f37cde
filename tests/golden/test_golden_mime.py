"""Golden files: what each message of this folder looks like to a client, checked by hand against the RFCs.

`NN-name.eml` has beside it `.index` (a line per node: part number, kind, header start, body start, body end, lines,
type, encoding), `.envelope` and `.structure` (BODYSTRUCTURE, then BODY). `UPDATE_GOLDEN=1` writes them anew: read the
difference before it is kept.
"""

import os
from pathlib import Path

import pytest

from duckmail.mime.envelope import envelope
from duckmail.mime.index import Index
from duckmail.mime.scan import scan
from duckmail.mime.section import part_numbers
from duckmail.mime.structure import body, bodystructure

FOLDER = Path(__file__).parent
MESSAGES = sorted(FOLDER.glob("*.eml"))


def described_index(index: Index) -> bytes:
    lines = []
    for node, number in zip(index.nodes, part_numbers(index), strict=True):
        name = ".".join(map(str, number)) or "-"
        lines.append(
            f"{name:<8} {node.kind.name:<9} {node.header_start:>5} {node.body_start:>5} {node.body_end:>5} "
            f"{node.lines:>3} {node.media_type} {node.encoding}\n"
        )
    return "".join(lines).encode()


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in MESSAGES])
def test_message_is_described_as_written_down(path: Path) -> None:
    raw = path.read_bytes()
    index = scan(raw)
    structure = bodystructure(raw, index)
    for suffix, now in (
        (".index", described_index(index)),
        (".envelope", envelope(raw, index) + b"\n"),
        (".structure", structure + b"\n" + body(structure) + b"\n"),
    ):
        golden = path.with_suffix(suffix)
        if os.environ.get("UPDATE_GOLDEN"):
            golden.write_bytes(now)
        assert now == golden.read_bytes(), golden.name


def test_there_are_messages() -> None:
    assert len(MESSAGES) >= 25
