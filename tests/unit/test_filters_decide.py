"""Filters and spam verdicts: rules of a table, without I/O."""

import pytest

from duckmail.mime.header import Lookup
from duckmail.model.filters import Facts, Filter, FilterAction, FilterQuery, clauses, decide, matches, matching
from duckmail.model.spam import Spam, is_spam, mentions, verdict

FACTS = Facts(
    from_="anna <anna@example.com>\nbert@example.org",
    to="list@example.com\ncc@example.com",
    subject="grüße (.*) aus rom",
    list_id="news <news.example.com>",
    size=1000,
    attachments=True,
    text=lambda: "the quick brown fox\nand its friends",
)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param({}, False, id="no-condition-matches-nothing"),
        pytest.param({"from_": "ANNA@"}, True, id="case-does-not-matter"),
        pytest.param({"from_": "bert@"}, True, id="sender-counts-as-from"),
        pytest.param({"from_": ".*"}, False, id="no-pattern"),
        pytest.param({"subject": "(.*)"}, True, id="literally"),
        pytest.param({"to": "cc@"}, True, id="cc-counts-as-to"),
        pytest.param({"list_id": "news.example.com"}, True, id="list-id"),
        pytest.param({"from_": "anna", "subject": "berlin"}, False, id="all-have-to-hold"),
        pytest.param({"ha": True}, True, id="with-attachment"),
        pytest.param({"ha": False}, False, id="without-attachment"),
        pytest.param({"size": 999}, True, id="larger"),
        pytest.param({"size": 1000}, False, id="as-large-is-not-larger"),
        pytest.param({"size": -1001}, True, id="smaller"),
        pytest.param({"size": -1000}, False, id="as-small-is-not-smaller"),
        pytest.param({"text": "fox friends"}, True, id="words-are-and"),
        pytest.param({"text": "fox,wolf"}, False, id="commas-are-and"),
        pytest.param({"text": "wolf OR fox"}, True, id="or"),
        pytest.param({"text": '"brown fox"'}, True, id="phrase"),
        pytest.param({"text": '"fox brown"'}, False, id="other-phrase"),
    ],
)
def test_conditions(query: dict[str, object], expected: bool) -> None:
    assert matches(FilterQuery(**query), FACTS) is expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a b,c", [["a"], ["b"], ["c"]], id="and"),
        pytest.param("a OR b c", [["a", "b"], ["c"]], id="or-binds-neighbours"),
        pytest.param('"A b" or', [["a b"], ["or"]], id="lower-case-or-is-a-word"),
        pytest.param("OR a", [["a"]], id="nothing-before-or"),
        pytest.param('"a', [["a"]], id="no-closing-quote"),
        pytest.param('"" ,', [], id="nothing"),
    ],
)
def test_clauses(text: str, expected: list[list[str]]) -> None:
    assert clauses(text) == expected


def _filter(number: int, action: dict[str, object], subject: str = "rom", disabled: bool = False) -> Filter:
    return Filter(f"{number}", "u", FilterQuery(subject=subject), FilterAction(**action), disabled=disabled)  # type: ignore[arg-type]


def test_the_first_filter_wins_and_targets_add_up() -> None:
    found = decide(
        matching(
            [
                _filter(1, {"seen": True, "targets": ("a@b",)}, subject="paris"),
                _filter(2, {"flag": True, "targets": ("c@d",)}, disabled=True),
                _filter(3, {"seen": False, "targets": ("e@f", "g@h")}),
                _filter(4, {"seen": True, "spam": True, "mailbox": "m", "targets": ("g@h", "i@j")}),
                _filter(5, {"spam": False, "mailbox": "n"}),
            ],
            FACTS,
        )
    )
    assert found == FilterAction(seen=False, spam=True, mailbox="m", targets=("e@f", "g@h", "i@j"))


def test_text_is_read_once_and_only_when_asked_for() -> None:
    calls = []

    def text() -> str:
        calls.append(1)
        return "fox"

    facts = Facts(subject="rom", text=text)
    decide(matching([_filter(1, {"seen": True})], facts))
    assert calls == []
    for _ in range(2):
        assert matches(FilterQuery(text="fox"), facts)
    assert calls == [1]


@pytest.mark.parametrize(
    ("header", "score", "points"),
    [
        pytest.param(b"Subject: x\r\n", 0, 0, id="nothing"),
        pytest.param(b"X-Rspamd-Action: reject\r\n", 75, 0, id="reject"),
        pytest.param(b"X-Rspamd-Action: Rewrite Subject\r\n", 50, 0, id="rewrite"),
        pytest.param(b"X-Rspamd-Action: add header\r\nX-Spam: Yes\r\n", 25, 0, id="action-goes-before-flags"),
        pytest.param(b"X-Rspamd-Action: no action\r\nX-Rspamd-Action: reject\r\n", 75, 0, id="the-worst-of-several"),
        pytest.param(b"X-Spam-Flag: YES\r\n", 50, 0, id="flag"),
        pytest.param(b"X-Spam: no\r\n", 0, 0, id="no"),
        pytest.param(b"X-Spam-Status: Yes, score=12.3 required=5\r\n", 50, 12.3, id="status"),
        pytest.param(b"X-Spam-Status: No, score=-1.5 required=5\r\n", 0, -1.5, id="below"),
        pytest.param(b"X-Spam-Score: 11.5 / 15\r\n", 0, 11.5, id="score"),
    ],
)
def test_verdicts(header: bytes, score: int, points: float) -> None:
    assert verdict(Lookup(header)) == Spam(score, points)
    assert mentions(b"\r\n" + header.lower()) == (b"x-" in header.lower())


@pytest.mark.parametrize(
    ("level", "score", "expected"),
    [
        pytest.param(0, 0, True, id="0-takes-all"),
        pytest.param(100, 75, False, id="100-takes-nothing"),
        pytest.param(50, 50, True, id="at-the-level"),
        pytest.param(50, 25, False, id="below"),
        pytest.param(25, 25, True, id="strict"),
        pytest.param(76, 75, False, id="above-every-score"),
    ],
)
def test_levels(level: int, score: int, expected: bool) -> None:
    assert is_spam(level, score) is expected
