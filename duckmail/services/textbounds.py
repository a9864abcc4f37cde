"""What the index of texts says about a search before a message is loaded: which messages cannot match."""

import asyncio
from array import array
from collections.abc import Iterator, Sequence

from duckmail.mime import grams
from duckmail.mime.collation import fold
from duckmail.model import search
from duckmail.services.searchsets import Blocks, Snapshot, Span
from storage.textindex import TextIndex
from storage.views import View

MAX_STRINGS = 32  # of one search that the index is asked for

TextKey = search.Header | search.Body | search.Text


async def bounds(index: TextIndex, view: View, snapshot: Snapshot, criteria: search.Node) -> dict[search.Node, Span]:
    """What is known of those keys of `criteria` that look for strings. Raises: Unavailable."""
    needles: dict[str, tuple[int, ...]] = {}
    keys: dict[TextKey, str] = {}
    for key in _text_keys(criteria):
        needle = fold(key.value)
        if needle not in needles and len(needles) < MAX_STRINGS and (places := grams.asked(needle)):
            needles[needle] = places
        if needle in needles:
            keys[key] = needle
    if not needles:
        return {}
    last, blocks, found = await index.ask(view.mailbox.id, list(needles.values()))
    index.want(view.mailbox.user, view.mailbox.id, view.uids[:], last)
    if not last:
        return {}
    return await asyncio.to_thread(_spans, snapshot, blocks, dict(zip(needles, found, strict=True)), keys)


def _spans(
    snapshot: Snapshot, blocks: Sequence["array[int]"], found: dict[str, Sequence[int]], keys: dict[TextKey, str]
) -> dict[search.Node, Span]:
    """CPU work."""
    placed = Blocks(snapshot.uids, blocks)
    spans = {needle: placed.span([Span(0, may) for may in each].__getitem__) for needle, each in found.items()}
    return {key: spans[needle] for key, needle in keys.items()}


def _text_keys(node: search.Node) -> Iterator[TextKey]:
    match node:
        case search.Text() | search.Body() | search.Header():
            yield node
        case search.And(children) | search.Or(children):
            for child in children:
                yield from _text_keys(child)
        case search.Not(child):
            yield from _text_keys(child)
