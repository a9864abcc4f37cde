"""SEARCH joins sets of messages before it looks at any: the answer is the same as that of each key by itself."""

from array import array

from hypothesis import given, settings
from hypothesis import strategies as st

from duckmail.model import search
from duckmail.model.flags import SEEN
from duckmail.model.mailbox import Mailbox
from duckmail.model.ranges import Ranges
from duckmail.services.search import Search
from storage.views import Rows, View

HIGHEST = 20


def view(flags: list[int]) -> View:
    count = len(flags)
    rows = Rows(array("I", range(1, count + 1)), array("q", flags), array("q", [1] * count))
    return View(Mailbox("m", "u", "INBOX", 1, count + 1, 1, messages=count), rows)


def matches(node: search.Node, uid: int, flags: int) -> bool:
    match node:
        case search.And(children):
            return all(matches(child, uid, flags) for child in children)
        case search.Or(children):
            return any(matches(child, uid, flags) for child in children)
        case search.Not(child):
            return not matches(child, uid, flags)
        case search.Uids(uids):
            return uid in list(uids)
        case _:
            return bool(flags & SEEN)


numbers = st.integers(1, HIGHEST + 5)
ranges = st.lists(st.tuples(numbers, numbers), max_size=4).map(Ranges.from_pairs)
keys = st.recursive(
    st.one_of(ranges.map(search.Uids), st.just(search.Flag("\\Seen"))),
    lambda inner: st.one_of(
        inner.map(search.Not),
        st.lists(inner, min_size=1, max_size=6).map(lambda some: search.And(tuple(some))),
        st.lists(inner, min_size=1, max_size=6).map(lambda some: search.Or(tuple(some))),
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(keys, st.lists(st.sampled_from([0, SEEN]), max_size=HIGHEST))
async def test_sets_are_joined_as_logic_has_it(tree: search.Node, flags: list[int]) -> None:
    found = await Search(None, view(flags), 0).run(tree)  # type: ignore[arg-type]  # nothing has to be loaded
    assert found == [uid for uid, mask in enumerate(flags, 1) if matches(tree, uid, mask)]
