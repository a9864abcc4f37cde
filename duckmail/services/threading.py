"""Puts messages into threads: ORDEREDSUBJECT, REFERENCES (RFC 5256 §4) and REFS (draft-ietf-morg-inthread).

All of it is loops over messages and over links, without recursion: a thread may be as deep as its mailbox is long.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from duckmail.errors import LimitReached
from duckmail.mime.collation import casemap
from duckmail.mime.sortsubject import base_subject
from duckmail.model.ordering import Threading, ThreadNode
from duckmail.services.ordering import stable
from storage.messages import Messages
from storage.views import View

MAX_REFERENCES = 100  # of one message that are looked at, the nearest
MAX_NODES = 1_000_000  # messages there are and messages that others refer to

_FIELDS: Mapping[Threading, set[str]] = {
    Threading.ORDEREDSUBJECT: {"subject", "hdate"},
    Threading.REFERENCES: {"subject", "hdate", "msgid", "refs", "answers"},
    Threading.REFS: {"idate", "hdate", "msgid", "refs", "answers"},
}


@dataclass(slots=True, eq=False)
class _Node:
    """`uid`: 0 while no message with this id has been seen: what RFC 5256 §4 calls a dummy."""

    uid: int = 0
    date: datetime | None = None
    arrived: datetime | None = None
    subject: str = ""
    reply: bool = False
    parent: "_Node | None" = None
    children: "dict[_Node, None]" = field(default_factory=dict)


async def thread(messages: Messages, view: View, uids: Sequence[int], how: Threading) -> Sequence[ThreadNode]:
    """The threads of those of `uids` (ascending) that still exist. Raises: LimitReached, Unavailable."""
    by_subject = how is Threading.ORDEREDSUBJECT
    forest = _Forest(subjects=how is not Threading.REFS)
    async for documents in messages.fields(view.mailbox.user, view.mailbox.id, uids, _FIELDS[how]):
        await asyncio.to_thread(forest.add, documents, linked=not by_subject)
    return await asyncio.to_thread(_ordered_subject if by_subject else forest.threads, forest.nodes)


class _Forest:
    def __init__(self, *, subjects: bool) -> None:
        self.nodes: list[_Node] = []  # of messages, in their order
        self._by_id: dict[str, _Node] = {}
        self._subjects = subjects

    def add(self, documents: Iterable[Mapping[str, Any]], *, linked: bool) -> None:
        """RFC 5256 §4, REFERENCES step (1)."""
        for document in documents:
            subject, reply = base_subject(document.get("subject", ""))
            arrived = document.get("idate")
            found = _Node(int(document["uid"]), document["hdate"], arrived, casemap(subject), reply)
            if linked:
                found = self._place(document, found)
            self.nodes.append(found)
            if len(self._by_id) > MAX_NODES:
                raise LimitReached("Too many messages and references for threads")

    def _place(self, document: Mapping[str, Any], message: _Node) -> _Node:
        identifier = document.get("msgid") or ""
        node = self._by_id.get(identifier) if identifier else None
        if node is None or node.uid:  # (1): without an id, or with one that is taken: an id of its own
            node = message
            if identifier and identifier not in self._by_id:
                self._by_id[identifier] = node
        else:  # others have referred to it already
            node.uid, node.date, node.arrived = message.uid, message.date, message.arrived
            node.subject, node.reply = message.subject, message.reply
        references = (document.get("refs") or [one for one in (document.get("answers"),) if one])[-MAX_REFERENCES:]
        previous: _Node | None = None
        for reference in references:
            each = self._by_id.get(reference)
            if each is None:
                each = self._by_id[reference] = _Node()
            if previous is not None and each.parent is None and not _above(each, previous):  # (1.A)
                _link(previous, each)
            previous = each
        _link(None, node)  # (1.B): an earlier link of its own gives way
        if previous is not None and not _above(node, previous):
            _link(previous, node)
        return node

    def threads(self, nodes: Sequence[_Node]) -> Sequence[ThreadNode]:
        """Steps (2) to (6); REFS has no step (5), and its threads are in the order of their last arrival."""
        roots = _pruned([*nodes, *(node for node in self._by_id.values() if not node.uid)])
        if self._subjects:
            roots = _by_subject(stable(roots, _date))
            _sort_children(roots)
            return _exported(stable(roots, _date))
        _sort_children(roots)
        return _exported(stable(roots, _last_arrival))


def _above(node: _Node, below: _Node | None) -> bool:
    """`node` is `below` or above it: a link between them would make a circle."""
    if not node.children:
        return node is below
    while below is not None:
        if below is node:
            return True
        below = below.parent
    return False


def _link(parent: _Node | None, child: _Node) -> None:
    if child.parent is not None:
        del child.parent.children[child]
    child.parent = parent
    if parent is not None:
        parent.children[child] = None


def _pruned(nodes: Iterable[_Node]) -> list[_Node]:
    """Steps (2) and (3): the threads, without messages that are not there where they hold nothing together."""
    found = list(nodes)
    for node in _upwards(found):
        if node.uid:
            continue
        # (3): without children it goes; its children move up, to the root only if there is one alone.
        if not node.children or node.parent is not None or len(node.children) == 1:
            above = node.parent
            for child in list(node.children):
                _link(above, child)
            _link(None, node)
    return [node for node in found if node.parent is None and (node.uid or node.children)]


def _upwards(nodes: Iterable[_Node]) -> Iterator[_Node]:
    """Each behind all that is below it."""
    order = [node for node in nodes if node.parent is None]
    for node in order:
        order.extend(node.children)
    return reversed(order)


def _date(node: _Node) -> tuple[datetime, int]:
    """Sent date, then place in the mailbox. RFC 5256 §4 step (4): a dummy, whose children are none, as its first."""
    if not node.uid:
        return min(map(_date, node.children))
    if node.date is None:
        raise AssertionError("a message has a date")
    return node.date, node.uid


def _last_arrival(root: _Node) -> tuple[datetime, int]:
    order = [root]
    for node in order:
        order.extend(node.children)
    return max((node.arrived, node.uid) for node in order if node.arrived is not None)


def _first(root: _Node) -> _Node:
    """Step (5.B.i): the message whose subject is the thread's."""
    return root if root.uid else next(iter(root.children))


def _by_subject(roots: Sequence[_Node]) -> list[_Node]:
    """Step (5): threads of one base subject become one."""
    table: dict[str, _Node] = {}
    for root in roots:
        subject = _first(root).subject
        if not subject:
            continue
        held = table.get(subject)
        # (5.B.iii): a dummy takes precedence, then what is no reply.
        if held is None or (held.uid and not root.uid) or (held.uid and held.reply and not _first(root).reply):
            table[subject] = root
    merged: dict[_Node, None] = dict.fromkeys(roots)
    for root in roots:
        subject = _first(root).subject
        held = table.get(subject) if subject else None
        if held is None or held is root:
            continue
        del merged[root]
        _merge(table, merged, held, root)
    return list(merged)


def _merge(table: dict[str, _Node], merged: dict[_Node, None], held: _Node, root: _Node) -> None:
    """Step (5.C)."""
    if not held.uid and not root.uid:
        for child in list(root.children):
            _link(held, child)
    elif not held.uid or (_first(root).reply and not held.reply):
        _link(held, root)
    else:
        both = _Node()
        del merged[held]
        subject = held.subject
        _link(both, held)
        _link(both, root)
        merged[both] = None
        table[subject] = both


def _sort_children(roots: Iterable[_Node]) -> None:
    """Step (6)."""
    order = list(roots)
    for node in order:
        if len(node.children) > 1:
            node.children = dict.fromkeys(stable(list(node.children), _date))
        order.extend(node.children)


def _exported(roots: Iterable[_Node]) -> list[ThreadNode]:
    top = [(root, ThreadNode(root.uid)) for root in roots]
    order = list(top)
    for node, out in order:
        below = [(child, ThreadNode(child.uid)) for child in node.children]
        out.children = [child for _, child in below]
        order.extend(below)
    return [out for _, out in top]


def _ordered_subject(nodes: Sequence[_Node]) -> Sequence[ThreadNode]:
    """RFC 5256 §4 ORDEREDSUBJECT: by subject, then by date; all later ones answer the first."""
    groups: dict[str, list[_Node]] = {}
    for node in stable(nodes, _date):
        groups.setdefault(node.subject, []).append(node)
    return [ThreadNode(first.uid, [ThreadNode(one.uid) for one in rest]) for first, *rest in groups.values()]
