"""Criteria as a client wrote them, carried out on the selected mailbox: what SEARCH, SORT and THREAD share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from duckmail.model import search
from duckmail.model.ranges import Ranges
from duckmail.runtime.turns import Turns
from protocols.imap import limiting
from protocols.imap.selected import Selected
from protocols.imap.session import SLICE, Session
from protocols.imap.wire.search import Messages, SearchKey, contains_modseq, exactly, leaves, resolve
from protocols.imap.wire.sequence import SequenceSet


@dataclass(frozen=True, slots=True)
class Program:
    """`keys`: how many there are in `key`. `sets`: those of messages, each once, with whether they are of UIDs.
    `modseq`: MODSEQ is among the keys."""

    key: SearchKey
    keys: int
    sets: tuple[tuple[SequenceSet, bool], ...]
    modseq: bool

    @property
    def numbered(self) -> bool:
        """Message sequence numbers are among the keys."""
        return any(not uid and not numbers.saved for numbers, uid in self.sets)

    def exactly(self) -> "Program":
        """The same without FUZZY."""
        return replace(self, key=exactly(self.key))

    @classmethod
    def of(cls, key: SearchKey) -> "Program":
        keys = tuple(leaves(key))
        sets = dict.fromkeys((one.set, one.uid) for one in keys if isinstance(one, Messages))
        return cls(key, len(keys), tuple(sets), contains_modseq(key))


Sets = Mapping[tuple[SequenceSet, bool], Ranges]


async def find(
    session: Session,
    selected: Selected,
    program: Program,
    *,
    fixed: Sets | None = None,
    among: Sequence[int] | None = None,
) -> list[int]:
    """Ascending UIDs that match, of messages that the client may not have been told of yet.

    Args:
        fixed: sets of messages that are resolved already.
        among: the UIDs to look at, ascending; None: all.

    Raises: UidRequired, LimitReached, Unavailable.
    """
    criteria = await _criteria(session, selected, program, fixed or {})
    return await session.mail.search(selected.view, criteria, selected.recent_from, among)


async def find_highest(session: Session, selected: Selected, program: Program) -> tuple[list[int], str]:
    """The same among as many messages as one command may look at; the response code when there are more (RFC 9738
    §3.1). The code is MESSAGELIMIT."""
    if not session.settings.message_limit:
        return await find(session, selected, program), ""
    criteria = await _criteria(session, selected, program, {})
    among, limit = limiting.highest(session, _scope(selected, criteria))
    return await session.mail.search(selected.view, criteria, selected.recent_from, among), limit


def _scope(selected: Selected, criteria: search.Node) -> list[int]:
    """The announced messages that the sets of messages beside all other keys leave; ascending."""
    keys = criteria.children if isinstance(criteria, search.And) else (criteria,)
    uids = Ranges(((1, selected.uidnext),))
    for key in keys:
        if isinstance(key, search.Uids):
            uids = uids.intersection(key.uids)
    return selected.live(uids)


async def fixed_sets(selected: Selected, program: Program) -> Sets:
    """Its sequence numbers and `$` as they stand now, for good (RFC 5267 §4.3). Raises: UidRequired."""
    uids: dict[tuple[SequenceSet, bool], Ranges] = {}
    turns = Turns()
    for numbers, uid in program.sets:
        if numbers.saved or not uid:
            uids[numbers, uid] = _resolved(selected, numbers, uid)
            await turns.pause()
    return uids


def _resolved(selected: Selected, numbers: SequenceSet, uid: bool) -> Ranges:
    # RFC 7377 §2: in any search numbers beyond the last message are no error, they match nothing.
    return selected.resolve(numbers, uid=uid, beyond=True)


async def _criteria(session: Session, selected: Selected, program: Program, fixed: Sets) -> search.Node:
    """The tree with UIDs in it. A line holds thousands of sets: others run meanwhile; the tree is made in a thread."""
    uids = dict(fixed)
    turns = Turns()
    for numbers, uid in program.sets:
        if (numbers, uid) not in uids:
            uids[numbers, uid] = _resolved(selected, numbers, uid)
            await turns.pause()

    def resolved() -> search.Node:
        return resolve(program.key, lambda numbers, uid: uids[numbers, uid])

    return resolved() if program.keys <= SLICE else await session.services.threads.run(resolved)
