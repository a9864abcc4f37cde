"""What a search answers: the numbers found, and what RETURN asks of them (RFC 4731 §3.1, RFC 5182 §2.1).

The result of SEARCH is ascending; that of SORT is in its order, and "first" and "last" are meant so (RFC 5267 §3).
"""

import asyncio
from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from protocols.imap.selected import Selected
from protocols.imap.session import SLICE
from protocols.imap.wire.partial import Page
from protocols.imap.wire.response import esearch_response, number_runs
from protocols.imap.wire.search import SearchReturn

# RFC 6203 §4: relevancy, 1 to 100: the words as they stand in the command, or all of them somewhere.
EXACT, NEAR = 100, 50


@dataclass(frozen=True, slots=True)
class Found:
    """`numbers`: what the client is told, UIDs or sequence numbers; `uids` and `modseqs`: of the same messages.
    `scores`: their relevancy, 1 to 100, when it was asked for (RFC 6203 §4)."""

    numbers: Sequence[int] = ()
    uids: Sequence[int] = ()
    modseqs: Sequence[int] = ()
    scores: Sequence[int] = field(default=())


async def found(selected: Selected, uids: Sequence[int], *, uid: bool) -> Found:
    """What to answer for the UIDs found, in their order.

    What arrived since the last EXISTS has no number yet; what was expunged while the search ran is no result. Numbers
    stay as they are while this lets others run: no EXPUNGE is sent meanwhile.
    """
    view = selected.view
    numbers, known, modseqs = array("I"), array("I"), array("Q")
    for start in range(0, len(uids), SLICE):
        part = uids[start : start + SLICE]
        first = view.position(part[0])
        if _is_run(selected, first, part):
            numbers.extend(part if uid else range(first + 1, first + 1 + len(part)))
            known.extend(part)
            modseqs.extend(map(int, view.modseqs[first : first + len(part)]))
            await asyncio.sleep(0)
            continue
        for one in part:
            position = view.position(one)
            if position >= 0 and selected.announced(one):
                numbers.append(one if uid else selected.number_at(position, one))
                known.append(one)
                modseqs.append(view.modseqs[position])
        await asyncio.sleep(0)
    return Found(numbers, known, modseqs)


def _is_run(selected: Selected, first: int, uids: Sequence[int]) -> bool:
    """The messages stand one behind the other in the view from there on, and their numbers are their places."""
    view = selected.view
    if first < 0 or selected.expunged or not selected.announced(uids[-1]):
        return False
    return view.uids[first : first + len(uids)].tolist() == list(uids)


# Option -> its value; None: nothing is said of it. RFC 4731 §3.1: only COUNT has one when nothing was found.
VALUES: Mapping[str, Callable[[Found], bytes | None]] = {
    "MIN": lambda result: b"%d" % result.numbers[0] if result.numbers else None,
    "MAX": lambda result: b"%d" % result.numbers[-1] if result.numbers else None,
    "ALL": lambda result: number_runs(result.numbers) if result.numbers else None,
    "COUNT": lambda result: b"%d" % len(result.numbers),
    "RELEVANCY": lambda result: b"(%b)" % b" ".join(b"%d" % one for one in result.scores) if result.scores else None,
}


def picked(result: Found, returned: SearchReturn) -> Sequence[int]:
    """Places in the result of what the options are about: all; the first, the last, the page when only they are asked.

    RFC 5182 §2.1 saves these; RFC 7162 §3.1.10 tells the highest mod-sequence of these.
    """
    ends = [option for option in returned.options if option in ("MIN", "MAX", "PARTIAL")]
    if not ends or any(option not in ("MIN", "MAX", "PARTIAL", "SAVE") for option in returned.options):
        return range(len(result.uids))
    count = len(result.uids)
    places = set(returned.partial.places(count)) if returned.partial else set()
    if count:
        places.update({"MIN": 0, "MAX": count - 1}[end] for end in ends if end != "PARTIAL")
    return sorted(places)


def _partial(result: Found, page: Page) -> bytes:
    """RFC 9394 §3.1: the range asked for, and the page; NIL when it is empty."""
    places = page.places(len(result.numbers))
    numbers = result.numbers[places.start : places.stop]
    return b"(%b %b)" % (bytes(page), number_runs(numbers) if numbers else b"NIL")


def answer(
    result: Found, returned: SearchReturn, tag: str, *, uid: bool, modseq: bool, where: bytes = b""
) -> bytes | None:
    """ESEARCH, None when the result is only saved (RFC 5182 §2.1). `modseq`: MODSEQ was among the keys."""
    items: list[tuple[bytes, bytes]] = []
    for option in returned.options:
        value = VALUES[option](result) if option in VALUES else None
        if value is not None:
            items.append((option.encode("ascii"), value))
        elif option == "PARTIAL" and returned.partial is not None:
            items.append((b"PARTIAL", _partial(result, returned.partial)))
    if returned.options == ("SAVE",):
        return None
    places = picked(result, returned)
    if modseq and places:
        items.append((b"MODSEQ", b"%d" % max(result.modseqs[place] for place in places)))
    return esearch_response(tag, items, uid=uid, where=where)


def forget(selected: Selected, returned: SearchReturn | None) -> None:
    """RFC 5182 §2.1: a search with SAVE that ends in NO leaves `$` empty."""
    if returned is not None and "SAVE" in returned.options:
        selected.saved = array("I")


def scored(result: Found, exact: Collection[int]) -> Found:
    """With the relevancy of each; `exact`: the UIDs that are found without FUZZY as well."""
    return replace(result, scores=[EXACT if uid in exact else NEAR for uid in result.uids])


def save(selected: Selected, result: Found, returned: SearchReturn | None) -> None:
    """RFC 5182 §2.1: `$` from now on, if SAVE was asked for."""
    if returned is not None and "SAVE" in returned.options:
        selected.saved = array("I", sorted(result.uids[place] for place in picked(result, returned)))
