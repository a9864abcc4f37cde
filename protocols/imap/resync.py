"""What a client that comes back must unlearn: VANISHED (EARLIER) (RFC 7162 §3.2.5, §3.2.6)."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from duckmail.model.ranges import Ranges
from protocols.imap.selected import Selected
from protocols.imap.session import Session


async def vanished_earlier(session: Session, selected: Selected, since: int, known: Ranges, above: int = 0) -> Ranges:
    """Those of `known` that were expunged after `since`, as far as this session has announced the mailbox.

    What is expunged later, or was announced and is gone meanwhile, is told by VANISHED itself. When the tombstones are
    pruned, it is all of `known` that does not exist: more than needed, never wrong (RFC 7162 §3.2.5.1 allows it).

    Args:
        above: no UID up to it has vanished since, as the client's sequence match data says.

    Raises: Unavailable.
    """
    below = Ranges(((1, selected.uidnext - 1),)) if selected.uidnext > 1 else Ranges()
    known = known.intersection(below)
    pruned = await session.mail.vanished(selected.view, since, selected.modseq)
    if pruned is not None:
        return known.intersection(pruned).without(selected.expunged)
    announced = sorted([*selected.view.uids, *selected.expunged])
    later = Ranges(((above + 1, selected.uidnext),))
    return await session.services.threads.run(lambda: known.without(announced).intersection(later))


def matched(selected: Selected, numbers: Ranges, uids: Ranges) -> int:
    """The highest UID of which the client's sequence number is still right, 0 without any (RFC 7162 §3.2.5.2).

    Numbers only ever fall: as far as they are right, no message has vanished below.
    """
    number_at, uid_at = _Nth(numbers), _Nth(uids)
    low, high = 0, min(len(numbers), len(uids))
    while low < high:  # how many of the pairs are right
        middle = (low + high + 1) // 2
        number = number_at[middle - 1]
        if number <= selected.exists and selected.uid(number) == uid_at[middle - 1]:
            low = middle
        else:
            high = middle - 1
    return uid_at[low - 1] if low else 0


class _Nth:
    """Members of ranges by their place."""

    def __init__(self, ranges: Ranges) -> None:
        self._pairs: Sequence[tuple[int, int]] = ranges.pairs
        self._before = [0, *accumulate(last - first + 1 for first, last in ranges.pairs)]

    def __getitem__(self, place: int) -> int:
        index = bisect_right(self._before, place) - 1
        return self._pairs[index][0] + place - self._before[index]
