"""STORE and UID STORE (RFC 3501 §6.4.6; UNCHANGEDSINCE: RFC 7162 §3.1.3).

Answered with the new flags of every message of the set, changed or not, unless `.SILENT`. What another session did to
the flags at the same time is told in any case (RFC 3501 §6.4.6): a message is passed over in silence only when its
flags are what the client must expect from its own command.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from duckmail.model import flags
from duckmail.model.message import FlagChange, FlagOperation, StoreResult
from duckmail.model.ranges import Ranges
from protocols.imap import limiting
from protocols.imap.command import SELECTED, Trait, command
from protocols.imap.reply import EXPUNGE_ISSUED, Reply, no, ok
from protocols.imap.selected import Selected
from protocols.imap.session import SLICE, Session
from protocols.imap.wire.parser import ParseError, Parser
from protocols.imap.wire.sequence import SequenceSet

_OPERATIONS = {
    "FLAGS": FlagOperation.REPLACE,
    "+FLAGS": FlagOperation.ADD,
    "-FLAGS": FlagOperation.REMOVE,
}


@dataclass(frozen=True, slots=True)
class _Arguments:
    sequence: SequenceSet
    change: FlagChange
    silent: bool
    uid: bool


def _parse(parser: Parser, *, uid: bool) -> _Arguments:
    parser.sp()
    sequence = parser.sequence_set()
    parser.sp()
    unchanged_since: int | None = None
    if parser.peek() == ord("("):
        # RFC 7162 §7: store-modifiers; UNCHANGEDSINCE is the only one there is.
        modifiers = parser.list_of(lambda: _modifier(parser))
        if len(modifiers) != 1:
            raise ParseError("STORE modifier given twice")
        unchanged_since = modifiers[0]
        parser.sp()
    word = parser.keyword()
    silent = word.endswith(".SILENT")
    operation = _OPERATIONS.get(word.removesuffix(".SILENT"))
    if operation is None:
        raise ParseError("Expected FLAGS, +FLAGS or -FLAGS")
    parser.sp()
    return _Arguments(sequence, FlagChange(operation, parser.store_flags(), unchanged_since), silent, uid)


def _modifier(parser: Parser) -> int:
    if parser.keyword() != "UNCHANGEDSINCE":
        raise ParseError("Unknown STORE modifier")
    parser.sp()
    return parser.number64()


async def _run(session: Session, arguments: _Arguments) -> Reply:
    selected = session.writable()
    change = arguments.change
    uids = selected.resolve(arguments.sequence, uid=arguments.uid)
    if change.unchanged_since is not None:
        session.enable_condstore()
    gone = bool(selected.gone(uids))
    kept, limit = limiting.highest(session, selected.live(uids))
    if limit:
        uids = Ranges.from_sorted(kept)
    before = _known_flags(selected, uids) if arguments.silent else {}
    result = await session.mail.store_flags(selected.view, uids, change)
    if arguments.silent:
        await _answer_silent(session, selected, result, _expected(selected, before, change))
    else:
        failed = set(result.failed)
        stored = [uid for uid in selected.live(uids) if uid not in failed]
        await _answer(session, selected, stored, uid=arguments.uid)
    reply = _reply(selected, arguments, result, gone=gone or bool(result.missing))
    return limiting.told(session, reply, limit)


def _reply(selected: Selected, arguments: _Arguments, result: StoreResult, *, gone: bool) -> Reply:
    stale = gone and not arguments.uid
    if not result.failed:
        return EXPUNGE_ISSUED if stale else ok("STORE completed")
    # RFC 7162 §3.1.3: MODIFIED has UIDs after UID STORE, else numbers. It comes with NO when messages were expunged.
    modified = result.failed if arguments.uid else [selected.number(uid) for uid in result.failed]
    code = f"MODIFIED {Ranges.from_sorted(modified)}"
    return no("Some of the messages no longer exist", code) if stale else ok("Conditional STORE failed", code)


def _known_flags(selected: Selected, uids: Ranges) -> dict[int, int]:
    """UID -> flags, of the messages whose flags the client knows as they are."""
    masks = selected.masks(uids)
    for uid in selected.stale(masks):
        del masks[uid]
    return masks


def _expected(selected: Selected, before: dict[int, int], change: FlagChange) -> dict[int, int]:
    """UID -> the flags that the client takes a message to have after its command."""
    given = flags.to_mask(change.flags, selected.view.mailbox.keywords)  # the table has all of them by now
    if change.operation is FlagOperation.ADD:
        return {uid: mask | given for uid, mask in before.items()}
    if change.operation is FlagOperation.REMOVE:
        return {uid: mask & ~given for uid, mask in before.items()}
    return dict.fromkeys(before, given)


async def _answer(session: Session, selected: Selected, uids: Sequence[int], *, uid: bool) -> None:
    writer, view, condstore = session.writer, selected.view, session.condstore
    for start in range(0, len(uids), SLICE):
        writer.new_keywords(selected)
        for number in uids[start : start + SLICE]:
            position = view.position(number)
            if position >= 0:
                writer.fetch_flags(selected, position, with_uid=uid or condstore, modseq=condstore)
                selected.told(number, view.modseqs[position])
        await writer.room()
        await asyncio.sleep(0)


async def _answer_silent(session: Session, selected: Selected, result: StoreResult, expected: dict[int, int]) -> None:
    """Messages with other flags than expected are left to the updates that precede the tagged answer."""
    writer, view = session.writer, selected.view
    for start in range(0, len(result.changed), SLICE):
        for uid in result.changed[start : start + SLICE]:
            position = view.position(uid)
            if position < 0 or expected.get(uid) != view.flags[position]:
                continue
            # RFC 7162 §3.1.3, §3.2: the new mod-sequence is told even after .SILENT to clients that know of them.
            if session.condstore:
                writer.fetch_modseq(selected, position)
            selected.told(uid, view.modseqs[position])
        await writer.room()
        await asyncio.sleep(0)


STORE = command("STORE", SELECTED, lambda parser: _parse(parser, uid=False), _run, Trait.NO_EXPUNGE | Trait.NUMBERED)
UID_STORE = command("UID STORE", SELECTED, lambda parser: _parse(parser, uid=True), _run)
