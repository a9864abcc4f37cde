"""The keys of a search: how many there are, and many sets of UIDs as one."""

from collections.abc import Iterator, Sequence

from duckmail.model import search
from duckmail.model.ranges import Ranges


def count_keys(node: search.Node) -> int:
    """The keys that one message may have to go through."""
    match node:
        case search.And(children):
            return 1 + sum(map(count_keys, merged(children, every=True)))
        case search.Or(children):
            return 1 + sum(map(count_keys, merged(children, every=False)))
        case search.Not(child):
            return 1 + count_keys(child)
        case _:
            return 1


def leaves(node: search.Node) -> Iterator[search.Node]:
    """The keys that And, Or and Not join."""
    match node:
        case search.And(children) | search.Or(children):
            for child in children:
                yield from leaves(child)
        case search.Not(child):
            yield from leaves(child)
        case _:
            yield node


def merged(children: Sequence[search.Node], *, every: bool) -> list[search.Node]:
    """The same, each key once, with one set and one negated set at most: clients chain thousands of sets, which cost
    interval arithmetic here, not a test per message (H5)."""
    sets: list[Ranges] = []
    negated: list[Ranges] = []
    rest: list[search.Node] = []
    for child in dict.fromkeys(children):
        match child:
            case search.Uids(uids):
                sets.append(uids)
            case search.Not(search.Uids(uids)):
                negated.append(uids)
            case _:
                rest.append(child)
    if negated:  # De Morgan
        rest.insert(0, search.Not(search.Uids(_union(negated) if every else _common(negated))))
    if sets:
        rest.insert(0, search.Uids(_common(sets) if every else _union(sets)))
    return rest


def _union(sets: Sequence[Ranges]) -> Ranges:
    return Ranges.from_pairs(pair for uids in sets for pair in uids.pairs)


def _common(sets: Sequence[Ranges]) -> Ranges:
    """What is in all of them; cost grows with their ranges together."""
    edges = [(first, 1) for uids in sets for first, _ in uids.pairs]
    edges += [(last + 1, -1) for uids in sets for _, last in uids.pairs]
    pairs: list[tuple[int, int]] = []
    depth = start = 0
    for at, step in sorted(edges):
        if depth == len(sets):
            pairs.append((start, at - 1))
        depth += step
        start = at
    return Ranges.from_pairs(pairs)
