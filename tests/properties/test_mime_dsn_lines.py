"""Whatever is told of whom, a report is lines of mail: three parts, no line too long, none added."""

from datetime import UTC, datetime
from email import message_from_bytes, policy

from hypothesis import given
from hypothesis import strategies as st

from duckmail.mime.dsn import Action, Entry, Report, build

MOMENT = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
TEXT = st.text(max_size=60) | st.text("ab \r\n\t.@;:+\\x{}é-", max_size=1200)
ENTRIES = st.builds(
    Entry,
    address=TEXT,
    action=st.sampled_from(Action),
    status=TEXT,
    words=TEXT,
    original=TEXT | TEXT.map("rfc822;".__add__) | TEXT.map("utf-8;".__add__),
    host=TEXT,
    tried=st.none() | st.just(MOMENT),
    until=st.none() | st.just(MOMENT),
)


@given(st.lists(ENTRIES, min_size=1, max_size=3), TEXT, TEXT, st.booleans())
def test_a_report_is_well_formed(entries: list[Entry], to: str, envid: str, full: bool) -> None:
    built = build(Report("mx.test", to, entries, MOMENT, MOMENT, "unique", b"A: b\r\n\r\n", full, envid))
    lines = built.octets.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    assert max(map(len, lines)) <= 998
    assert built.octets.isascii() or built.smtputf8
    assert lines.count(b"--=_unique") == 3
    parsed = message_from_bytes(built.octets, policy=policy.compat32)
    assert len(parsed.get_payload()) == 3
    status = built.octets.split(b"--=_unique\r\n")[2].partition(b"\r\n\r\n")[2]
    groups = status.rstrip(b"\r\n").split(b"\r\n\r\n")
    assert len(groups) == len(entries) + 1
    for group, entry in zip(groups[1:], entries, strict=True):
        fields = [line for line in group.split(b"\r\n") if not line.startswith(b" ")]
        assert [field for field in fields if field.startswith(b"Action:")] == [f"Action: {entry.action.value}".encode()]
