"""LIST patterns and the tree they are matched against."""

import re
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duckmail.model.mailbox import Mailbox
from protocols.imap.patterns import MAX_PATTERN, Pattern
from protocols.imap.tree import entries


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        pytest.param("*", "a/b", True, id="star-crosses-levels"),
        pytest.param("%", "a/b", False, id="percent-stays-on-its-level"),
        pytest.param("%", "a", True, id="percent"),
        pytest.param("%/%", "a/b", True, id="one-percent-per-level"),
        pytest.param("a%", "a", True, id="percent-stands-for-nothing"),
        pytest.param("a*c", "abc/c", True, id="star-goes-on-behind-a-first-end"),
        pytest.param("a%c", "ab/c", False, id="percent-between"),
        pytest.param("*%", "a/b", True, id="star-swallows-percent"),
        pytest.param("%*", "a/b", True, id="percent-before-star"),
        pytest.param("", "a", False, id="nothing-matches-no-name"),
        pytest.param("inbox", "INBOX", True, id="inbox-in-any-case"),
        pytest.param("iNb%/A", "INBOX/A", True, id="inbox-as-first-level-in-any-case"),
        pytest.param("inbox/a", "INBOX/A", False, id="case-counts-below-inbox"),
        pytest.param("INBOXES", "inboxes", False, id="case-counts-elsewhere"),
        pytest.param("a/inbox", "a/INBOX", False, id="inbox-is-special-at-the-top-only"),
        pytest.param(".", "a", False, id="no-regular-expression"),
        pytest.param("*" * MAX_PATTERN, "a", True, id="longest"),
        pytest.param("a" * (MAX_PATTERN + 1), "a" * MAX_PATTERN, False, id="too-long-is-not-cut"),
    ],
)
def test_pattern(pattern: str, path: str, matches: bool) -> None:
    assert Pattern(pattern).matches(path) is matches


@settings(max_examples=300, deadline=None)
@given(st.text("ab/%*", max_size=8), st.text("ab/", max_size=10))
def test_pattern_against_a_regular_expression(pattern: str, path: str) -> None:
    words = {"*": ".*", "%": "[^/]*"}
    oracle = re.fullmatch("".join(words.get(char, char) for char in pattern), path) is not None
    assert Pattern(pattern).matches(path) is oracle


def test_no_pattern_is_slow() -> None:
    """H6: what makes backtracking matchers exponential takes milliseconds here, there more time than there is."""
    pattern = Pattern("*a" * 500 + "b")
    started = process_time()
    for _ in range(10):
        assert not pattern.matches("a" * 5000)
    assert process_time() - started < 5


def mailbox(path: str, *, subscribed: bool = True, hidden: bool = False) -> Mailbox:
    return Mailbox("m", "u", path, 1, 1, 1, subscribed=subscribed, hidden=hidden)


def test_tree() -> None:
    found = entries(
        [
            mailbox("z"),
            mailbox("a/b/c", subscribed=False),
            mailbox("a!"),
            mailbox("INBOX"),
            mailbox("INBOX/x"),
            mailbox("h", hidden=True),
            mailbox("z/y"),
        ]
    )
    shown = [
        (entry.path, entry.mailbox is not None, entry.has_children, entry.has_subscribed_children) for entry in found
    ]
    assert shown == [
        ("INBOX", True, True, True),
        ("INBOX/x", True, False, False),
        ("a", False, True, False),
        ("a/b", False, True, False),
        ("a/b/c", True, False, False),
        ("a!", True, False, False),
        ("z", True, True, True),
        ("z/y", True, False, False),
    ]
