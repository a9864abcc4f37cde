"""FETCH and UID FETCH (RFC 3501 §6.4.5, §6.4.8; CHANGEDSINCE and VANISHED: RFC 7162 §3.1.4.1, §3.2.6).

A message that another session has expunged keeps its number here until EXPUNGE may be sent, but its data is gone.
FETCH answers for all others and ends with `NO [EXPUNGEISSUED]` (RFC 2180 §4.1.2, RFC 5530 §3), so that the client
looks again; UID FETCH leaves it out, as any UID that does not exist (RFC 3501 §6.4.8).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from duckmail.errors import RateLimited
from duckmail.model.flags import SEEN
from duckmail.model.message import FlagChange, FlagOperation
from duckmail.model.ranges import Ranges
from duckmail.runtime.turns import Turns
from duckmail.services.downloads import Downloads
from protocols.imap import limiting
from protocols.imap.command import SELECTED, Trait, command
from protocols.imap.fetching import Plan
from protocols.imap.reply import EXPUNGE_ISSUED, Reply, bad, ok
from protocols.imap.resync import vanished_earlier
from protocols.imap.selected import Selected
from protocols.imap.session import SLICE, Session
from protocols.imap.wire.fetch import fetch_items, fetch_modifiers
from protocols.imap.wire.parser import ParseError, Parser
from protocols.imap.wire.partial import Page
from protocols.imap.wire.sequence import SequenceSet

BACKWARDS = 50  # messages loaded at once when the highest UIDs come first


@dataclass(frozen=True, slots=True)
class _Arguments:
    sequence: SequenceSet
    plan: Plan
    uid: bool
    changed_since: int | None
    vanished: bool = False
    page: Page | None = None


def _parse(parser: Parser, *, uid: bool) -> _Arguments:
    parser.sp()
    sequence = parser.sequence_set()
    parser.sp()
    items = fetch_items(parser)
    modifiers = fetch_modifiers(parser)
    if "VANISHED" in modifiers and not uid:
        raise ParseError("VANISHED needs UID FETCH")  # RFC 7162 §3.2.6
    page, since = modifiers.get("PARTIAL"), modifiers.get("CHANGEDSINCE")
    if page is not None and not uid:
        raise ParseError("PARTIAL needs UID FETCH")  # RFC 9394 §3.3
    changed_since = since if isinstance(since, int) else None
    plan = Plan(items, uid=uid, modseq=changed_since is not None)
    return _Arguments(
        sequence, plan, uid, changed_since, "VANISHED" in modifiers, page if isinstance(page, Page) else None
    )


async def _run(session: Session, arguments: _Arguments) -> Reply:
    selected, plan = session.mailbox, arguments.plan
    if arguments.vanished and not session.qresync:
        return bad("VANISHED needs QRESYNC")
    if arguments.page is not None and (refused := limiting.too_many(session, arguments.page.size)):
        return refused  # RFC 9738 §3.1
    uids = selected.resolve(arguments.sequence, uid=arguments.uid)
    if arguments.changed_since is not None or "MODSEQ" in plan.names:
        session.enable_condstore()
    gone = bool(selected.gone(uids))
    if arguments.vanished and arguments.changed_since is not None:
        # RFC 7162 §3.2.6: before any FETCH. What the set names need not be announced, nor exist.
        named = arguments.sequence.resolve(selected.last_uid())
        vanished = await vanished_earlier(session, selected, arguments.changed_since, named)
        session.writer.vanished(vanished, earlier=True)
    live, limit = limiting.highest(session, _meant(selected, arguments, uids))
    if plan.fetches:
        await session.mail.downloads.require()
    # RFC 4314 §4: FETCH sets \Seen only for who has the s right.
    seen = _Seen(session, selected)
    if plan.sets_seen and selected.permitted & SEEN:
        await seen.set(Ranges.from_sorted(live))
    # RFC 9738 §3.1: then from the highest to the lowest UID.
    slices = [live[max(0, end - BACKWARDS) : end] for end in range(len(live), 0, -BACKWARDS)] if limit else [live]
    written = 0
    for some in slices:
        if plan.in_view:
            written += await from_view(session, selected, plan, some[::-1] if limit else some)
        else:
            written += await _from_store(session, selected, plan, some, seen)
    if not arguments.uid and (gone or written < len(live)):
        return limiting.told(session, EXPUNGE_ISSUED, limit)
    return limiting.told(session, ok("FETCH completed"), limit)


def _meant(selected: Selected, arguments: _Arguments, uids: Ranges) -> list[int]:
    """The messages to tell of, ascending."""
    live = selected.live(uids)
    if arguments.page is not None:
        places = arguments.page.places(len(live))
        live = live[places.start : places.stop]
    if arguments.changed_since is None:
        return live
    # RFC 9394 §3.4: of the page, what has changed.
    changed = set(selected.view.changed_since(arguments.changed_since))
    return [uid for uid in live if uid in changed]


class _Seen:
    """The messages on which this FETCH set \\Seen, as long as they are not fetched."""

    def __init__(self, session: Session, selected: Selected) -> None:
        self._session = session
        self._selected = selected
        self._waiting: set[int] = set()
        self._modseq = 0

    async def set(self, uids: Ranges) -> None:
        """On all that lack it, in one change."""
        unseen = [uid for uid, mask in self._selected.masks(uids).items() if not mask & SEEN]
        if unseen:
            change = FlagChange(FlagOperation.ADD, ("\\Seen",))
            done = await self._session.mail.store_flags(self._selected.view, Ranges.from_sorted(unseen), change)
            self._waiting, self._modseq = set(done.changed), done.modseq

    def fetched(self, uid: int) -> bool:
        """Whether this message was not \\Seen before."""
        new = uid in self._waiting
        self._waiting.discard(uid)
        return new

    async def take_back(self) -> None:
        """RFC 3501 §6.4.5: \\Seen is of what was fetched. What another session has changed meanwhile stays."""
        if self._waiting:
            change = FlagChange(FlagOperation.REMOVE, ("\\Seen",), unchanged_since=self._modseq)
            await self._session.mail.store_flags(self._selected.view, Ranges.from_sorted(sorted(self._waiting)), change)


async def from_view(session: Session, selected: Selected, plan: Plan, uids: Sequence[int]) -> int:
    """FLAGS, UID and MODSEQ are in the view: nothing is loaded. How many messages were written."""
    writer, condstore = session.writer, session.condstore
    written = 0
    for start in range(0, len(uids), SLICE):
        writer.new_keywords(selected)
        lines = plan.lines(selected, uids[start : start + SLICE], condstore=condstore)
        writer.write("".join(lines).encode("ascii"))
        written += len(lines)
        await writer.room()
        await asyncio.sleep(0)
    return written


async def _from_store(session: Session, selected: Selected, plan: Plan, uids: Sequence[int], seen: _Seen) -> int:
    """How many messages were written; those expunged meanwhile are left out.

    Raises: RateLimited: what may be fetched in a day came to its end among them.
    """
    writer, turns, downloads = session.writer, Turns(), session.mail.downloads
    written = counted = 0
    async for batch in session.mail.fetch(selected.view, uids, plan.needs):
        for message in batch:
            if counted:  # the first one is fetched, whatever its size: it was asked before
                await _require(downloads, seen)
            new = seen.fetched(message.uid)
            written += await plan.write(writer, selected, message, seen=new, condstore=session.condstore)
            downloads.took(plan.octets - counted)
            counted = plan.octets
            await writer.room()
            await turns.pause()
    return written


async def _require(downloads: Downloads, seen: _Seen) -> None:
    """Raises: RateLimited, and then what is not fetched is as it was."""
    try:
        await downloads.require()
    except RateLimited:
        await seen.take_back()
        raise


FETCH = command("FETCH", SELECTED, lambda parser: _parse(parser, uid=False), _run, Trait.NO_EXPUNGE | Trait.NUMBERED)
UID_FETCH = command("UID FETCH", SELECTED, lambda parser: _parse(parser, uid=True), _run)
