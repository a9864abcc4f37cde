"""SEARCH and UID SEARCH (RFC 3501 §6.4.4; MODSEQ: RFC 7162 §3.1.5)."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from duckmail.model import search
from duckmail.model.ranges import Ranges
from duckmail.runtime.turns import Turns
from protocols.imap.command import SELECTED, Trait, command
from protocols.imap.reply import Reply, ok
from protocols.imap.selected import Selected
from protocols.imap.session import SLICE, Session
from protocols.imap.wire.parser import ParseError, Parser
from protocols.imap.wire.response import search_response
from protocols.imap.wire.search import Messages, SearchKey, contains_modseq, leaves, resolve, search_program
from protocols.imap.wire.sequence import SequenceSet


@dataclass(frozen=True, slots=True)
class _Arguments:
    """`keys`: how many there are in `key`. `sets`: those of messages, each once, with whether they are of UIDs.
    `modseq`: MODSEQ is among the keys."""

    key: SearchKey
    uid: bool
    keys: int
    sets: tuple[tuple[SequenceSet, bool], ...]
    modseq: bool


def _parse(parser: Parser, *, uid: bool) -> _Arguments:
    parser.sp()
    returned, _, key = search_program(parser)
    if returned is not None:
        raise ParseError("RETURN needs ESEARCH")
    keys = tuple(leaves(key))
    sets = dict.fromkeys((one.set, one.uid) for one in keys if isinstance(one, Messages))
    return _Arguments(key, uid, len(keys), tuple(sets), contains_modseq(key))


async def _run(session: Session, arguments: _Arguments) -> Reply:
    selected = session.mailbox
    if arguments.modseq:
        session.enable_condstore()
    criteria = await _criteria(session, selected, arguments)
    found = await session.mail.search(selected.view, criteria, selected.recent_from)
    numbers, highest = await _numbers(selected, found, uid=arguments.uid)
    session.writer.untagged(search_response(numbers, highest if arguments.modseq and numbers else None))
    return ok("SEARCH completed")


async def _criteria(session: Session, selected: Selected, arguments: _Arguments) -> search.Node:
    """The tree with UIDs in it. A line holds thousands of sets: others run meanwhile; the tree is made in a thread."""
    uids: dict[tuple[SequenceSet, bool], Ranges] = {}
    turns = Turns()
    for numbers, uid in arguments.sets:
        uids[numbers, uid] = selected.resolve(numbers, uid=uid)
        await turns.pause()

    def resolved() -> search.Node:
        return resolve(arguments.key, lambda numbers, uid: uids[numbers, uid])

    return resolved() if arguments.keys <= SLICE else await session.services.threads.run(resolved)


async def _numbers(selected: Selected, found: Sequence[int], *, uid: bool) -> tuple[list[int], int]:
    """What to answer for the UIDs found, and their highest mod-sequence.

    What arrived since the last EXISTS has no number yet; what was expunged while the search ran is no result. Numbers
    stay as they are while this lets others run: no EXPUNGE is sent meanwhile.
    """
    view = selected.view
    numbers: list[int] = []
    highest = 0
    for start in range(0, len(found), SLICE):
        for one in found[start : start + SLICE]:
            position = view.position(one)
            if position >= 0 and selected.announced(one):
                numbers.append(one if uid else selected.number_at(position, one))
                highest = max(highest, view.modseqs[position])
        await asyncio.sleep(0)
    return numbers, highest


SEARCH = command("SEARCH", SELECTED, lambda parser: _parse(parser, uid=False), _run, Trait.NO_EXPUNGE)
UID_SEARCH = command("UID SEARCH", SELECTED, lambda parser: _parse(parser, uid=True), _run)
