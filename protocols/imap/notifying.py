"""What NOTIFY (RFC 5465) asked for is told the moment it is known, between commands as well as in IDLE.

A session knows each mailbox as it was told of it last; what happened is the difference to the mailboxes of now. So
nothing is queued for a client that reads slowly: it is told later, in fewer words. One that wants more of its new
messages than `MOST_OCTETS` is told NOTIFICATIONOVERFLOW.
"""

import asyncio
from collections.abc import Iterator

from duckmail.errors import DuckmailError
from duckmail.model.mailbox import SEPARATOR, Mailbox
from duckmail.model.ranges import Ranges
from duckmail.runtime.tasks import Tasks
from protocols.imap.fetching import Plan
from protocols.imap.gathering import MOST_MESSAGES, Gathering, Overflow
from protocols.imap.metadatanews import MetadataNews
from protocols.imap.selected import Selected
from protocols.imap.session import Session, State
from protocols.imap.wire.notify import Group, Request, Scope
from protocols.imap.wire.response import list_response, mailbox_name, status_response

PAUSE = 0.05  # seconds between two looks, and while the client is busy
RETRY = 2.0  # seconds, while the store does not answer
_COUNTED = frozenset({"MESSAGENEW", "MESSAGEEXPUNGE"})


class Notifier:
    """NOTIFY in force for one session, from `start` to `stop`."""

    def __init__(self, session: Session, request: Request) -> None:
        self._session = session
        self._mail = session.mail
        self._request = request
        self._known: dict[str, Mailbox] = {}  # by id
        self._bell = asyncio.Event()
        self._tasks = Tasks("notify")
        self._following = False
        self._selected: Selected | None = session.selected
        self._fetched = session.selected.uidnext if session.selected else 0  # below it no message is fetched
        server = any("SERVERMETADATACHANGE" in group.events for group in request.groups)
        self.metadata = MetadataNews(
            session.mail, lambda mailbox: "MAILBOXMETADATACHANGE" in self._events(mailbox), server=server
        )

    def wake(self) -> None:
        self._bell.set()

    async def start(self) -> None:
        """From here on nothing is missed. Raises: Unavailable."""
        self._mail.follow(self.wake)
        self._following = True
        mailboxes = await self._mail.mailboxes()
        await self.metadata.start(mailboxes)
        for mailbox in mailboxes:
            self._known[mailbox.id] = mailbox
            events = self._events(mailbox)
            if self._request.status and _COUNTED & events and self._counts(mailbox):
                self._session.writer.untagged(self._status(mailbox, events))
                await self._session.writer.room()
        self._tasks.start(self._run(), "session")

    async def stop(self) -> None:
        self._unfollow()
        await self._tasks.aclose()

    def _unfollow(self) -> None:
        if self._following:
            self._following = False
            self._mail.unfollow(self.wake)

    async def _run(self) -> None:
        while True:
            await self._bell.wait()
            self._bell.clear()
            try:
                await self._tell()
            except Overflow:
                # RFC 5465 §5.8: and then it is as after NOTIFY NONE.
                self._session.writer.status("OK", "Too much to tell", "NOTIFICATIONOVERFLOW")
                self._session.writer.push()
                self._unfollow()
                return
            except DuckmailError:
                await asyncio.sleep(RETRY)
                self._bell.set()
            await asyncio.sleep(PAUSE)

    async def _tell(self) -> None:
        now = {mailbox.id: mailbox for mailbox in await self._mail.mailboxes()}
        await self.metadata.look(now.values())
        await self._quiet()
        writer = self._session.writer
        for line in self._news(now):
            writer.untagged(line)
        for line in self.metadata.lines(self._session.utf8):
            writer.untagged(line)
        self._known = now
        writer.push()
        group, selected = self._request.selected, self._session.selected
        if group is None or not group.events or selected is None or self._session.lost:
            return
        self._session.push_updates(expunge=group.scope is Scope.SELECTED)
        if self._session.half_pushed:
            self._bell.set()
        elif group.fetch:
            await self._fetch(selected, group)

    async def _quiet(self) -> None:
        """Until no command is in progress and the client reads; then nothing is written but by us until we wait."""
        session = self._session
        while session.state is State.LOGOUT or not session.input.waiting or session.connection.write_paused:  # noqa: ASYNC110
            await asyncio.sleep(PAUSE)

    # Mailboxes

    def _events(self, mailbox: Mailbox) -> frozenset[str]:
        """RFC 5465 §6: of all groups that name it."""
        own = mailbox.user == self._session.actor.user
        return frozenset().union(*(group.events for group in self._request.groups if _names(group, mailbox, own=own)))

    def _is_selected(self, mailbox: Mailbox) -> bool:
        selected = self._session.selected
        return selected is not None and selected.view.mailbox.id == mailbox.id

    def _counts(self, mailbox: Mailbox) -> bool:
        """STATUS tells of it: what happens in the selected one is told otherwise, and of one that may not be read
        nothing is (RFC 5465 §5)."""
        return not self._is_selected(mailbox) and self._mail.places.may(mailbox, "r")

    def _status(self, mailbox: Mailbox, events: frozenset[str]) -> bytes:
        """RFC 5465 §5.1-§5.3."""
        items: list[tuple[str, int | bytes]] = [
            ("MESSAGES", mailbox.messages), ("UIDNEXT", mailbox.uidnext), ("UIDVALIDITY", mailbox.uidvalidity)
        ]  # fmt: skip
        if "FLAGCHANGE" in events:
            items.append(("UNSEEN", mailbox.unseen))
        if self._session.condstore:
            items.append(("HIGHESTMODSEQ", mailbox.modseq))
        return status_response(mailbox.path, items, self._session.utf8)

    def _news(self, now: dict[str, Mailbox]) -> Iterator[bytes]:
        tree = _Tree(self._known, now)
        for gone in self._known.keys() - now.keys():
            mailbox = self._known[gone]
            if "MAILBOXNAME" in self._events(mailbox):
                yield list_response(["\\NonExistent"], mailbox.path, self._session.utf8)  # RFC 5465 §5.4
        for mailbox in now.values():
            before = self._known.get(mailbox.id)
            events = self._events(mailbox) or (self._events(before) if before else frozenset())
            if (before != mailbox or mailbox.path in tree.parents) and events:
                yield from self._changes(before, mailbox, events, tree)

    def _changes(
        self, before: Mailbox | None, mailbox: Mailbox, events: frozenset[str], tree: "_Tree"
    ) -> Iterator[bytes]:
        utf8, attributes = self._session.utf8, tree.attributes(mailbox)
        renamed = before is not None and before.path != mailbox.path
        if "MAILBOXNAME" in events and renamed and before is not None and not self._with_parent(before, mailbox, tree):
            # RFC 5465 §5.4: a rename is told with the old name.
            old = b'("OLDNAME" (%b))' % mailbox_name(before.path, utf8)
            yield list_response(attributes, mailbox.path, utf8, extended=old)
        elif "MAILBOXNAME" in events and (before is None or (mailbox.path in tree.parents and not renamed)):
            yield list_response(attributes, mailbox.path, utf8)
        elif before and before.subscribed != mailbox.subscribed and "SUBSCRIPTIONCHANGE" in events:
            yield list_response(attributes, mailbox.path, utf8)  # RFC 5465 §5.5
        if before != mailbox and self._counts(mailbox) and _tells(before, mailbox, events):
            yield self._status(mailbox, events)

    def _with_parent(self, before: Mailbox, mailbox: Mailbox, tree: "_Tree") -> bool:
        """RFC 5465 §5.4: it was renamed with its parent, of which the client hears."""
        parent = tree.renamed_parent(before, mailbox)
        return parent is not None and "MAILBOXNAME" in self._events(parent)

    # The selected mailbox

    async def _fetch(self, selected: Selected, group: Group) -> None:
        """RFC 5465 §5.2: of new messages what MessageNew asked for."""
        if selected is not self._selected:
            self._selected, self._fetched = selected, self._session.selected_at
        announced = selected.uidnext
        uids = selected.live(Ranges.from_pairs([(self._fetched, announced - 1)])) if self._fetched < announced else []
        if len(uids) > MOST_MESSAGES:
            raise Overflow
        numbers = [selected.number(uid) for uid in uids]
        plan, gathered = Plan(group.fetch, uid=True, modseq=self._session.condstore), Gathering(self._session)
        async for batch in self._mail.fetch(selected.view, uids, plan.needs):
            for message in batch:
                await plan.write(gathered, selected, message, seen=False, condstore=self._session.condstore)
        await self._quiet()
        if self._session.selected is not selected or numbers != [selected.number(uid) for uid in uids]:
            self._bell.set()  # what was written is not true any more
            return
        self._session.writer.write(bytes(gathered.data))
        self._session.writer.push()
        self._mail.downloads.took(plan.octets)
        self._fetched = announced


class _Tree:
    """What has become of the mailboxes. `parents`: the paths of those that a mailbox was made or deleted in, which are
    affected by that (RFC 5465 §5.4)."""

    def __init__(self, before: dict[str, Mailbox], now: dict[str, Mailbox]) -> None:
        changed = [before[one] for one in before.keys() - now.keys()]
        changed += [now[one] for one in now.keys() - before.keys()]
        self.parents = {_parent(mailbox.path) for mailbox in changed}
        self._with_children = {_parent(mailbox.path) for mailbox in now.values()}
        self._moved = {
            before[one].path: mailbox
            for one, mailbox in now.items()
            if one in before and before[one].path != mailbox.path
        }

    def attributes(self, mailbox: Mailbox) -> list[str]:
        """Those of LIST (RFC 5465 §5.4, §5.5)."""
        found = [mailbox.special_use] if mailbox.special_use else []
        found.append("\\HasChildren" if mailbox.path in self._with_children else "\\HasNoChildren")
        return [*found, "\\Subscribed"] if mailbox.subscribed else found

    def renamed_parent(self, before: Mailbox, mailbox: Mailbox) -> Mailbox | None:
        parent = self._moved.get(_parent(before.path))
        same = parent is not None and f"{parent.path}{before.path[len(_parent(before.path)) :]}" == mailbox.path
        return parent if same else None


def _parent(path: str) -> str:
    return path.rpartition(SEPARATOR)[0]


def _names(group: Group, mailbox: Mailbox, *, own: bool) -> bool:
    match group.scope:
        case Scope.PERSONAL | Scope.INBOXES:  # RFC 5465 §6.2: filters may deliver to any mailbox
            return own
        case Scope.SUBSCRIBED:
            return mailbox.subscribed
        case Scope.MAILBOXES:
            return mailbox.path in group.paths
        case Scope.SUBTREE:
            path = mailbox.path
            return path in group.paths or any(path.startswith(each + SEPARATOR) for each in group.paths)
        case _:
            return False


def _tells(before: Mailbox | None, mailbox: Mailbox, events: frozenset[str]) -> bool:
    """Whether STATUS has something to tell."""
    if not _COUNTED & events:
        return False
    if before is None:
        return mailbox.uidnext > 1
    if "FLAGCHANGE" in events:
        return mailbox.modseq != before.modseq
    return (mailbox.uidnext, mailbox.messages) != (before.uidnext, before.messages)
