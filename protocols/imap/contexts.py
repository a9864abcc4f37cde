"""Searches whose results are kept up to date at the client: UPDATE (RFC 5267 §4.3, RFC 5465 §7).

A context holds the UIDs that its client has in the result, in the client's order. Messages whose change the client was
told of are looked at again, those alone; the difference to what it has goes out as ADDTO and REMOVEFROM: before the
tagged answer of a command, and between commands once FETCH and EXISTS of the same change are out, as IDLE and NOTIFY
send them. What is expunged is told at once (RFC 5267 §A.3).
"""

import asyncio
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from duckmail.errors import DuckmailError
from duckmail.model.ordering import SortBy, SortKey
from duckmail.model.ranges import Ranges
from duckmail.runtime.tasks import Tasks
from protocols.imap.fetching import Plan
from protocols.imap.gathering import MOST_MESSAGES, Gathering, Overflow
from protocols.imap.searching import Program, Sets, find, fixed_sets
from protocols.imap.selected import Selected
from protocols.imap.session import Session, State
from protocols.imap.wire.response import esearch_response, number_runs
from protocols.imap.wire.search import SearchReturn
from protocols.imap.writer import RANGES

MOST = 8  # contexts of one session
MOST_SORTED = 2  # of them in an order that is not the mailbox's
MOST_RESULTS = 100_000  # of all contexts but the first, which RFC 5267 §4.3.1 grants
SORTED_RESULTS = 5_000  # of one that is sorted: each message that joins it sorts it anew
PAUSE = 0.05  # seconds between two looks, and while the client is busy
RETRY = 2.0  # seconds, while the store does not answer

Group = tuple[int, Sequence[int]]  # a context position, 0 where the order is the mailbox's, and UIDs


@dataclass(slots=True)
class Context:
    """`modseq`, `uidnext`: changes up to it, and messages below it, are accounted for. `order`: () is that of the
    mailbox. `where`: what names the mailbox, for ESEARCH. `results`: UIDs, in the order."""

    tag: str
    program: Program
    uid: bool
    order: tuple[SortBy, ...]
    where: bytes
    fixed: Sets
    plan: Plan | None
    modseq: int
    uidnext: int
    results: "array[int]" = field(default_factory=lambda: array("I"))


@dataclass(frozen=True, slots=True)
class _Change:
    """`looked_at`: UIDs; `matched`: those of them that match. `ordered`: all that match, for a context with an order.
    `fetched`: FETCH of those that arrived, true while `numbers` are theirs."""

    looked_at: set[int]
    matched: set[int]
    ordered: Sequence[int]
    arrived: Sequence[int]
    numbers: Sequence[int]
    fetched: bytes
    modseq: int
    uidnext: int


class Contexts:
    """Those of one selected mailbox, from the first UPDATE until another mailbox is selected."""

    def __init__(self, session: Session, selected: Selected) -> None:
        self._session = session
        self._selected = selected
        self._contexts: dict[str, Context] = {}
        self._bell = asyncio.Event()
        self._lock = asyncio.Lock()  # two that look at the same change would tell it twice
        self._tasks = Tasks("contexts")
        self._tasks.start(self._run(), "session")

    def wake(self) -> None:
        self._bell.set()

    async def stop(self) -> None:
        self._contexts.clear()
        await self._tasks.aclose()

    def __contains__(self, tag: str) -> bool:
        return tag in self._contexts

    def cancel(self, tag: str) -> bool:
        """RFC 5267 §4.3.5: no more updates; whether there were any."""
        return self._contexts.pop(tag, None) is not None

    def add(self, context: Context) -> bool:
        """From here on its changes are told. False: there are too many."""
        count, others = len(context.results), self._contexts.values()
        if context.order:
            by_score = any(by.key is SortKey.RELEVANCY for by in context.order)
            if by_score or count > SORTED_RESULTS or sum(bool(one.order) for one in others) >= MOST_SORTED:
                return False
        elif others and sum(len(one.results) for one in others) + count > MOST_RESULTS:
            return False
        if len(others) >= MOST:
            return False
        self._contexts[context.tag] = context
        return True

    # When

    def expunged(self) -> None:
        """Tells what left the results because it left the mailbox: by number that must be before EXPUNGE."""
        gone = self._selected.expunged
        if gone:
            for context in self._contexts.values():
                self._remove(context, _held(context, gone))

    async def refresh(self) -> None:
        """Tells what FETCH and EXISTS have just told of the results; what cannot be found out now is told later."""
        try:
            async with self._lock:
                for context in list(self._contexts.values()):
                    await self._look(context, lambda: True)
        except DuckmailError:
            self.wake()

    async def _run(self) -> None:
        while True:
            await self._bell.wait()
            self._bell.clear()
            try:
                if not self._quiet() or not await self._push():
                    self.wake()
            except DuckmailError:
                await asyncio.sleep(RETRY)
                self.wake()
            await asyncio.sleep(PAUSE)

    def _quiet(self) -> bool:
        """No command is in progress, the client reads, and no half of a change is out."""
        session = self._session
        if session.state is not State.SELECTED or session.writer.torn or session.half_pushed:
            return False
        return session.input.waiting and not session.connection.write_paused

    async def _push(self) -> bool:
        """False: there is more to tell, but not now."""
        self.expunged()
        told = True
        async with self._lock:
            for context in list(self._contexts.values()):
                told = await self._look(context, self._quiet) and told
        if self._quiet():
            self._session.writer.push()
        return told

    # What

    async def _look(self, context: Context, may_write: Callable[[], bool]) -> bool:
        change = await self._change(context)
        if self._contexts.get(context.tag) is not context:
            return True
        if change.looked_at and not (may_write() and self._tell(context, change)):
            return False
        context.modseq, context.uidnext = change.modseq, change.uidnext
        return True

    async def _change(self, context: Context) -> _Change:
        """What the client was told of since the last look. Raises: LimitReached, Unavailable."""
        session, selected, view = self._session, self._selected, self._selected.view
        modseq, uidnext = selected.modseq, selected.uidnext
        changed = [uid for uid in view.changed_since(context.modseq) if uid < uidnext]
        looked_at = {uid for uid in changed if view.modseqs[view.position(uid)] <= modseq}
        if context.uidnext < uidnext:
            looked_at.update(selected.live(Ranges(((context.uidnext, uidnext - 1),))))
        if not looked_at:
            return _Change(set(), set(), (), (), (), b"", modseq, uidnext)
        among = sorted(looked_at)
        matched = set(await find(session, selected, context.program, fixed=context.fixed, among=among))
        ordered: Sequence[int] = ()
        if context.order:
            members = sorted(matched.union(context.results) - (looked_at - matched))
            ordered = await session.mail.sort(view, members, context.order)
        arrived = [uid for uid in among if uid in matched and uid >= context.uidnext] if context.plan else []
        numbers = [selected.number(uid) for uid in arrived]
        fetched = await self._fetched(context, arrived)
        return _Change(looked_at, matched, ordered, arrived, numbers, fetched, modseq, uidnext)

    async def _fetched(self, context: Context, uids: Sequence[int]) -> bytes:
        """RFC 5465 §7: FETCH of messages that arrived; nothing when it is too much, the client can ask for it."""
        session, plan = self._session, context.plan
        if plan is None or not uids or len(uids) > MOST_MESSAGES:
            return b""
        gathered, before = Gathering(session), plan.octets
        try:
            async for batch in session.mail.fetch(self._selected.view, uids, plan.needs):
                for message in batch:
                    await plan.write(gathered, self._selected, message, seen=False, condstore=session.condstore)
        except Overflow:
            return b""
        session.mail.downloads.took(plan.octets - before)
        return bytes(gathered.data)

    def _tell(self, context: Context, change: _Change) -> bool:
        """False: it has changed again meanwhile."""
        view = self._selected.view
        self.expunged()
        if change.fetched and list(change.numbers) != [self._selected.number(uid) for uid in change.arrived]:
            return False
        held = set(_held(context, sorted(change.looked_at)))
        added = {uid for uid in change.matched - held if view.position(uid) >= 0}
        removed = held - change.matched
        if not context.order:
            self._session.writer.write(change.fetched)
            self._remove(context, sorted(removed))
            self._add(context, sorted(added))
            return True
        members = added.union(context.results) - removed
        ordered = [uid for uid in change.ordered if uid in members]
        if len(ordered) != len(members):
            return False
        self._session.writer.write(change.fetched)
        self._remove(context, sorted(removed))
        places = [at for at, uid in enumerate(ordered) if uid in added]
        # Lowest position first: each is right once those before it are in.
        self._write(context, b"ADDTO", ((first + 1, ordered[first:end]) for first, end in _runs(places)))
        context.results = array("I", ordered)
        if len(ordered) > SORTED_RESULTS:
            self.cancel(context.tag)
            refuse(self._session, context.tag)
        return True

    def _add(self, context: Context, uids: Sequence[int]) -> None:
        self._write(context, b"ADDTO", ((0, uids[at : at + RANGES]) for at in range(0, len(uids), RANGES)))
        for uid in uids:
            context.results.insert(bisect_left(context.results, uid), uid)

    def _remove(self, context: Context, uids: Sequence[int]) -> None:
        """`uids`: ascending, all among the results."""
        results = context.results
        if not context.order:
            self._write(context, b"REMOVEFROM", ((0, uids[at : at + RANGES]) for at in range(0, len(uids), RANGES)))
            for uid in uids:
                del results[bisect_left(results, uid)]
            return
        gone = set(uids)
        runs = list(_runs([at for at, uid in enumerate(results) if uid in gone]))
        # Highest position first: so none depends on those before it.
        self._write(context, b"REMOVEFROM", ((first + 1, results[first:end]) for first, end in reversed(runs)))
        context.results = array("I", (uid for uid in results if uid not in gone))

    def _write(self, context: Context, name: bytes, groups: Iterable[Group]) -> None:
        for position, uids in groups:
            numbers = uids if context.uid else [self._selected.number(uid) for uid in uids]
            value = b"(%d %b)" % (position, number_runs(numbers))
            line = esearch_response(context.tag, [(name, value)], uid=context.uid, where=context.where)
            self._session.writer.untagged(line)


def _held(context: Context, uids: Sequence[int]) -> list[int]:
    """Those of `uids`, ascending, that are among the results."""
    if context.order:
        members = set(context.results)
        return [uid for uid in uids if uid in members]
    results = context.results
    return [uid for uid in uids if (at := bisect_left(results, uid)) < len(results) and results[at] == uid]


def _runs(places: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(first, end) of places in a row, of at most `RANGES`."""
    start = 0
    for at in range(1, len(places) + 1):
        if at == len(places) or places[at] != places[at - 1] + 1 or at - start == RANGES:
            yield places[start], places[at - 1] + 1
            start = at


def _of(session: Session) -> Contexts | None:
    contexts = session.contexts
    return contexts if isinstance(contexts, Contexts) else None


def reused(session: Session, returned: SearchReturn | None) -> bool:
    """RFC 5267 §4.3: the command asks for updates, and those of another one have its tag."""
    contexts = _of(session)
    return returned is not None and returned.update and contexts is not None and session.tag in contexts


def cancel(session: Session, tag: str) -> bool:
    """Whether there was a context of that tag."""
    contexts = _of(session)
    return contexts is not None and contexts.cancel(tag)


async def begin(
    session: Session, program: Program, returned: SearchReturn | None, *, uid: bool,
    order: tuple[SortBy, ...] = (), where: bytes = b"",
) -> Context | None:  # fmt: skip
    """A context for the search that is about to run, None when it asks for no updates. Raises: UidRequired."""
    if returned is None or not returned.update:
        return None
    selected = session.mailbox
    fixed = await fixed_sets(selected, program)
    plan = Plan(returned.fetch, uid=uid, modseq=False) if returned.fetch else None
    return Context(session.tag, program, uid, order, where, fixed, plan, selected.modseq, selected.uidnext)


def follow(session: Session, context: Context | None, uids: Sequence[int]) -> None:
    """`uids`: what the search has found, in its order. From here on its changes are told, or NOUPDATE says no."""
    if context is None:
        return
    contexts = _of(session)
    if contexts is None:
        contexts = session.contexts = Contexts(session, session.mailbox)
    context.results = array("I", uids)
    if not contexts.add(context):
        refuse(session, context.tag)


def refuse(session: Session, tag: str) -> None:
    """RFC 5267 §4.3.1."""
    session.writer.status("NO", "Too many contexts", f'NOUPDATE "{tag}"')
