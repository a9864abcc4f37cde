"""The arguments of NOTIFY (RFC 5465 §8)."""

import re
from dataclasses import dataclass
from enum import Enum

from protocols.imap.wire.fetch import FetchItem, fetch_items
from protocols.imap.wire.parser import ParseError, Parser

MAX_GROUPS = 50
MAX_NAMES = 1000  # of mailboxes, in one group
EVENTS = {
    name.upper(): name
    for name in (
        *("MessageNew", "MessageExpunge", "FlagChange", "MailboxName", "SubscriptionChange"),
        *("MailboxMetadataChange", "ServerMetadataChange"),
    )
}
_ITEMS_FOLLOW = re.compile(rb" (?=\()")
_UNSUPPORTED = ("ANNOTATIONCHANGE",)
_OF_MESSAGES = frozenset({"MESSAGENEW", "MESSAGEEXPUNGE", "FLAGCHANGE"})


class Scope(Enum):
    """filter-mailboxes"""

    SELECTED = "SELECTED"
    SELECTED_DELAYED = "SELECTED-DELAYED"
    INBOXES = "INBOXES"
    PERSONAL = "PERSONAL"
    SUBSCRIBED = "SUBSCRIBED"
    SUBTREE = "SUBTREE"
    MAILBOXES = "MAILBOXES"

    @property
    def selected(self) -> bool:
        return self in (Scope.SELECTED, Scope.SELECTED_DELAYED)


@dataclass(frozen=True, slots=True)
class Group:
    """`paths`: of SUBTREE and MAILBOXES. `events`: upper case. `fetch`: of MessageNew in the selected mailbox."""

    scope: Scope
    paths: frozenset[str]
    events: frozenset[str]
    fetch: tuple[FetchItem, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """`groups`: in order, none for NOTIFY NONE. `unsupported`: an event among them is not offered here."""

    groups: tuple[Group, ...] = ()
    status: bool = False
    unsupported: bool = False

    @property
    def selected(self) -> Group | None:
        """What is said of the selected mailbox."""
        return next((group for group in self.groups if group.scope.selected), None)


def notify(p: Parser) -> Request:
    """Behind `NOTIFY`, to the end of the command. Raises: ParseError."""
    # notify = "NOTIFY" SP ( notify-add / notify-none ); notify-add = "SET" [SP "STATUS"] 1*(SP event-group)
    p.sp()
    word = p.keyword()
    if word == "NONE":
        return Request()
    if word != "SET":
        raise ParseError("Expected SET or NONE")
    p.sp()
    status = p.peek() != ord("(")
    if status:
        if p.keyword() != "STATUS":
            raise ParseError("Expected STATUS or events")
        p.sp()
    reader = _Groups(p)
    groups = [reader.group()]
    while p.try_byte(b" "):
        groups.append(reader.group())
        if len(groups) > MAX_GROUPS:
            raise ParseError("Too many event groups")
    if sum(group.scope.selected for group in groups) > 1:
        raise ParseError("The selected mailbox is named twice")  # RFC 5465 §6.1
    return Request(tuple(groups), status, reader.unsupported)


class _Groups:
    def __init__(self, p: Parser) -> None:
        self._p = p
        self._fetch: tuple[FetchItem, ...] = ()
        self.unsupported = False

    def group(self) -> Group:
        # event-group = "(" filter-mailboxes SP events ")"
        p = self._p
        p.expect(b"(")
        try:
            scope = Scope(p.keyword())
        except ValueError:
            raise ParseError("Unknown mailbox specifier") from None
        paths: list[str] = []
        if scope in (Scope.SUBTREE, Scope.MAILBOXES):
            p.sp()
            paths = p.list_of(p.mailbox) if p.peek() == ord("(") else [p.mailbox()]
            if len(paths) > MAX_NAMES:
                raise ParseError("Too many mailboxes")
        p.sp()
        self._fetch = ()
        events = frozenset(self._events())
        p.expect(b")")
        self._check(scope, events)
        return Group(scope, frozenset(paths), events & EVENTS.keys(), self._fetch)

    def _events(self) -> list[str]:
        p = self._p
        if p.peek() == ord("("):
            return p.list_of(self._event)
        if p.keyword() != "NONE":
            raise ParseError("Expected events or NONE")
        return []

    def _event(self) -> str:
        # message-event = ( "MessageNew" [SP "(" fetch-att *(SP fetch-att) ")" ] ) / "MessageExpunge" / ...
        name = self._p.keyword()
        if name == "MESSAGENEW" and self._p.match(_ITEMS_FOLLOW):
            self._fetch = fetch_items(self._p)
        if name in _UNSUPPORTED:
            self.unsupported = True
        elif name not in EVENTS:
            raise ParseError("Unknown event")
        return name

    def _check(self, scope: Scope, events: frozenset[str]) -> None:
        messages = events & _OF_MESSAGES
        # RFC 5465 §5: MessageNew and MessageExpunge only together, FlagChange only beside them.
        if messages and not {"MESSAGENEW", "MESSAGEEXPUNGE"} <= messages:
            raise ParseError("MessageNew and MessageExpunge go together")
        if scope.selected and events - _OF_MESSAGES:
            raise ParseError("Only events of messages are of the selected mailbox")  # RFC 5465 §6.1
        if self._fetch and not scope.selected:
            raise ParseError("Only of the selected mailbox messages are fetched")  # RFC 5465 §5.2
