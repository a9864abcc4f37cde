"""What the index of texts says about a search before a message is loaded: which messages cannot match."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from duckmail.mime import grams
from duckmail.mime.collation import fold
from duckmail.model import search
from storage.textindex import TextIndex
from storage.views import View

MAX_STRINGS = 32  # of one search that the index is asked for

TextKey = search.Header | search.Body | search.Text


@dataclass(frozen=True, slots=True)
class Bounds:
    """`last`: the highest UID that is indexed. `may`: string -> the UIDs up to `last` which may hold it."""

    last: int
    may: dict[str, set[int]]

    def excluded(self, needle: str, uid: int) -> bool:
        """The message does not hold the (folded) string."""
        found = self.may.get(needle)
        return found is not None and uid <= self.last and uid not in found

    def limit(self, node: search.Node) -> set[int] | None:
        """The UIDs up to `last` beside which none can match; None: any of them."""
        match node:
            case search.Text() | search.Body() | search.Header():
                return self.may.get(fold(node.value))
            case search.And(children):
                limits = [found for found in map(self.limit, children) if found is not None]
                return set.intersection(*limits) if limits else None
            case search.Or(children) if children:
                either = [self.limit(child) for child in children]
                return None if None in either else set().union(*(found for found in either if found is not None))
            case _:
                return None


NONE = Bounds(0, {})


async def bounds(index: TextIndex, view: View, criteria: search.Node) -> Bounds:
    """Of the strings that `criteria` looks for. Raises: Unavailable."""
    needles: dict[str, tuple[int, ...]] = {}
    for key in _text_keys(criteria):
        if len(needles) == MAX_STRINGS:
            break
        needle = fold(key.value)
        if needle not in needles and (places := grams.asked(needle)):
            needles[needle] = places
    if not needles:
        return NONE
    last, found = await index.ask(view.mailbox.id, list(needles.values()))
    index.want(view.mailbox.user, view.mailbox.id, view.uids[:], last)
    return Bounds(last, dict(zip(needles, found, strict=True))) if last else NONE


def _text_keys(node: search.Node) -> Iterator[TextKey]:
    match node:
        case search.Text() | search.Body() | search.Header():
            yield node
        case search.And(children) | search.Or(children):
            for child in children:
                yield from _text_keys(child)
        case search.Not(child):
            yield from _text_keys(child)


def places_of(view: View, limit: set[int], last: int) -> list[int]:
    """Positions in the view of the messages in `limit` and of all that are not indexed; ascending."""
    found = [at for uid in sorted(limit) if (at := view.position(uid)) >= 0]
    return [*found, *range(bisect_right(view.uids, last), len(view.uids))]
