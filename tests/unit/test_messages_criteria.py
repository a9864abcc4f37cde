"""What `q` means, and what no `q` can do."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duckmail.errors import InvalidInput
from duckmail.model import search
from duckmail.model.mailbox import Mailbox
from duckmail.services.messages.criteria import Query, words

BOX = Mailbox("0" * 24, "1" * 24, "Work/Now", 1, 1, 1, special_use="\\Sent")
T = search.Text
NO = search.Not(search.All())


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("", search.All(), id="empty"),
        pytest.param("a", T("a"), id="word"),
        pytest.param("a b", search.And((T("a"), T("b"))), id="implicit-and"),
        pytest.param("a AND b", search.And((T("a"), T("b"))), id="and"),
        pytest.param("a OR b c", search.Or((T("a"), search.And((T("b"), T("c"))))), id="or-binds-less"),
        pytest.param("(a OR b) c", search.And((search.Or((T("a"), T("b"))), T("c"))), id="group"),
        pytest.param('"a OR b"', T("a OR b"), id="quoted"),
        pytest.param("-a", search.Not(T("a")), id="not"),
        pytest.param('-from:"A B"', search.Not(search.Header("from", "A B")), id="not-quoted-key"),
        pytest.param("to:x", search.Or((search.Header("to", "x"), search.Header("cc", "x"))), id="to-or-cc"),
        pytest.param("From:x", search.Header("from", "x"), id="key-in-any-case"),
        pytest.param("subject:-x", search.Header("subject", "-x"), id="minus-in-a-value"),
        pytest.param("thread:ABC", search.Thread("abc"), id="thread"),
        pytest.param("has:attachment", search.Attached(), id="has"),
        pytest.param("in:sent", search.All(), id="in-name"),
        pytest.param("in:work/now", search.All(), id="in-path"),
        pytest.param(f"in:{'0' * 24}", search.All(), id="in-id"),
        pytest.param("in:trash", NO, id="in-another"),
        pytest.param("http://x.example/", T("http://x.example/"), id="no-key"),
        pytest.param("subject:http://x", search.Header("subject", "http://x"), id="colon-in-a-value"),
        pytest.param("from: x", search.And((T("from:"), T("x"))), id="a-blank-ends-a-key"),
    ],
)
def test_meaning(query: str, expected: search.Node) -> None:
    assert Query(query).within(BOX) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("a b", search.Or((T("a"), T("b"))), id="any-word"),
        pytest.param('a "b c" -d', search.And((T("b c"), search.Not(T("d")), search.Or((T("a"),)))), id="all-kinds"),
        pytest.param('""', search.All(), id="nothing"),
    ],
)
def test_words(query: str, expected: search.Node) -> None:
    assert words(query) == expected


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='ab-:" ()ORANDfromin*.$\\', max_size=200) | st.text(max_size=100))
def test_anything_has_a_meaning_or_is_refused(query: str) -> None:
    try:
        Query(query).within(BOX)
    except InvalidInput:
        assert query.count("(") > 10
    words(query)
