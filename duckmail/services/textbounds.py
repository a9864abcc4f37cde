"""What the index of texts says about a search before a message is loaded: which messages cannot match."""

import asyncio
from array import array
from collections.abc import Sequence
from itertools import islice

from duckmail.mime import grams
from duckmail.mime.collation import casemap
from duckmail.model import search
from duckmail.services.searchkeys import leaves
from duckmail.services.searchsets import Blocks, Snapshot, Span
from storage.listed import FIELDS
from storage.textindex import TextIndex
from storage.textsegments import Wanted
from storage.views import View

MAX_STRINGS = 32  # of one search that the index is asked for

TextKey = search.Header | search.Body | search.Text


async def bounds(index: TextIndex, view: View, snapshot: Snapshot, criteria: search.Node) -> dict[search.Node, Span]:
    """What is known of those keys of `criteria` that look for strings. Raises: Unavailable."""
    texts = (key for key in leaves(criteria) if isinstance(key, TextKey))
    keys = list(islice(dict.fromkeys(texts), MAX_STRINGS))
    wanted = {key: one for key in keys if (one := _wanted(key)).places}
    if not wanted:
        return {}
    last, blocks, found = await index.ask(view.mailbox.id, list(wanted.values()))
    index.want(view.mailbox.user, view.mailbox.id, view.uids[:], last)
    if not last:
        return {}
    return await asyncio.to_thread(_spans, snapshot, blocks, dict(zip(wanted, found, strict=True)))


def _wanted(key: TextKey) -> Wanted:
    needle = casemap(key.value)
    match key:
        case search.Text():
            return Wanted(needle, grams.asked(needle, grams.HEADER + grams.BODY), grams.HEADER + grams.BODY)
        case search.Body():
            return Wanted(needle, grams.asked(needle, grams.BODY), grams.BODY)
        case search.Header(name, _):
            places = grams.asked(needle, grams.HEADER)
            if needle and name.lower() in FIELDS:
                return Wanted(needle, places)  # decided on what is listed, which is not the field as it stands
            # The name stands there as well.
            both = {place for found in (*places, *grams.asked(casemap(name), grams.HEADER)) for place in found}
            return Wanted(needle, (tuple(both),) if both else (), name=casemap(name))


def _spans(
    snapshot: Snapshot, blocks: Sequence["array[int]"], found: dict[TextKey, list[tuple[int, int]]]
) -> dict[search.Node, Span]:
    """CPU work."""
    placed = Blocks(snapshot.uids, blocks)
    return {key: placed.span([Span(*each) for each in answers].__getitem__) for key, answers in found.items()}
